"""The terminal as a chat platform: one named conversation, with one person."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

from adapters.console.answering import Answering
from adapters.console.attaching import read_shared
from adapters.console.chat import Chat, unwritable
from adapters.console.document import JsonDocument
from adapters.console.plain import PlainOutput
from adapters.console.screen import Output, Screen, Style, TraceLevel
from adapters.console.speaker import Speaker, user_name
from adapters.console.unattended import PATIENCE_S, Unattended
from bot.domain.asks import AskPost
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, Earlier, MessageReceived, SharedFile
from bot.domain.people import Actor
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Connection, Found, Host
from bot.ports.rights import Memberships

KEY_HELP = """In this terminal:
  Alt-Enter or Ctrl-J  begins another line; Enter sends all of them
  /attach FILE ...     takes files along with your next message; /detach does not
  Ctrl-C               stops the answer; what you type meanwhile is kept
  Ctrl-D or /exit      leaves"""
EXIT_MISUSED = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class ConsoleAdapter:
    """Satisfies the Adapter port for a person at a terminal; good for one `run` or one `ask_once`."""

    name = "console"

    def __init__(
        self,
        conversation: str,
        *,
        host: Host,
        user: str = "",
        banner: str = "",
        trace: TraceLevel = "summary",
        history_file: Path | None = None,
        attachments: Path | None = None,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.conversation = ConversationKey(platform=self.name, space="local", channel=conversation)
        self._host = host
        self._speaker = Speaker(conversation=self.conversation, id=user or user_name())
        self._banner = banner
        self._trace: TraceLevel = trace
        self._history_file = history_file
        self._attachments = attachments
        self._stdin = stdin or sys.stdin
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._chat: asyncio.Future[Chat] = asyncio.get_running_loop().create_future()  # done once there is a screen

    @property
    def connection(self) -> Connection:
        """The terminal, which is there as long as the process is."""
        return Connection(is_open=True)

    @property
    def serves(self) -> str:
        """The one conversation of this terminal."""
        return str(self.conversation)

    # --- two ways of use ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hand over what is typed, one entry after the other, until the user leaves.

        Raises:
            AdapterError: The terminal is gone.
        """
        from adapters.console.asking import Asking
        from adapters.console.session import open_terminal  # slow to import, and not needed for one question

        with open_terminal(
            stdin=self._stdin,
            stdout=self._stdout,
            history_file=self._history_file,
            conversation=str(self.conversation),
            shows_details=self._trace == "full",
        ) as terminal:
            asking = Asking(terminal, self._host, self._speaker)
            with self._chatting(terminal, asking, key_help=KEY_HELP) as chat:
                restoring = asyncio.create_task(chat.restore())  # waits for the host; the prompt does not
                try:
                    while (line := await terminal.read()) is not None:
                        if await chat.take(line) == "left":
                            return
                finally:
                    restoring.cancel()
                    await asyncio.wait([restoring])

    async def ask_once(
        self,
        text: str,
        *,
        files: Sequence[str] = (),
        says_yes: bool = False,
        style: Style = "plain",
        patience_s: float = PATIENCE_S,
    ) -> int:
        """Ask one question with these files (or run one command), and return the exit code.

        That is 0 where it was answered, 1 where not, 2 where it lacks something, 130 after Ctrl-C. Calls that would ask
        are declined, or run with `says_yes` where the asker alone decides. A question that waits for other people
        counts as not answered, after `patience_s` in which nothing was asked here.

        Raises:
            AdapterError: The output cannot be written.
        """
        output = self._output(style)
        unattended = Unattended(self._host, self._speaker, say=output.say, says_yes=says_yes, patience_s=patience_s)
        with self._chatting(output, unattended) as chat:
            try:
                chat.attach(files)
            except AdapterError as error:
                output.say(str(error))
                outcome = "misused"
            else:
                outcome = await chat.take(text)
            if outcome == "nothing":
                output.say("There is no question to answer.")
            output.end(outcome)
        if chat.was_interrupted:
            return EXIT_INTERRUPTED
        if outcome == "misused":
            return EXIT_MISUSED
        return 0 if outcome == "answered" else 1

    def _output(self, style: Style) -> Output:
        if style == "json":
            self._trace = "full"
            return JsonDocument(self._stdout)
        shows_details, is_quiet = self._trace == "full", style == "quiet"
        return PlainOutput(stdout=self._stdout, stderr=self._stderr, shows_details=shows_details, is_quiet=is_quiet)

    @contextmanager
    def _chatting(self, screen: Screen, answering: Answering, *, key_help: str = "") -> Generator[Chat]:
        chat = Chat(
            screen,
            self._host,
            self._speaker,
            answering,
            trace=self._trace,
            attachments=self._attachments,
            key_help=key_help,
        )
        self._chat.set_result(chat)
        try:
            if self._banner:
                screen.say(self._banner)
            yield chat
        except OSError as error:
            raise unwritable(error) from error
        finally:
            chat.leave()

    # --- what the host shows -----------------------------------------------------------------------------------

    def show(self, view: TurnView) -> None:
        """Show progress; before the screen is open there is nothing to show it on."""
        if self._chat.done():
            self._chat.result().show(view)

    def split(self, text: str) -> Sequence[str]:
        """Return the whole text: a terminal has no maximum message length."""
        return (text,)

    async def post(self, post: Post) -> str:
        """Show an answer as soon as the screen is open; one to a question of an earlier chat says that it is.

        Raises:
            AdapterError: The user has left, or the terminal is gone.
        """
        chat = await asyncio.shield(self._chat)  # a post that is cancelled must not end the others
        await chat.post(post)
        return f"{self.name}:{post.key}"

    async def find(self, post: Post) -> Found | None:
        """Return None: a terminal keeps nothing, so an answer that may have been cut off is shown again whole."""
        return None

    async def settle(self, turn_id: int) -> None:
        """Return at once: what is shown on a screen is shown."""

    async def put_ask(self, post: AskPost) -> str:
        """Show what is asked, or what became of it, as soon as the screen is open.

        Raises:
            AdapterError: The user has left, or the terminal is gone.
        """
        chat = await asyncio.shield(self._chat)  # as in `post`
        await chat.put_ask(post)
        return f"{self.name}:{post.key}"

    async def find_ask(self, post: AskPost) -> Found | None:
        """Return None: a terminal keeps nothing, so what may have been shown is shown again."""
        return None

    async def post_notice(self, notice: Notice) -> str:
        """Raise AdapterError: a terminal is no place for notices to several people."""
        raise AdapterError("A terminal takes no notices. Set warn_in to a channel.", is_permanent=True)

    async def find_notice(self, notice: Notice) -> Found | None:
        """Return None: a terminal keeps nothing."""
        return None

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Return that the person is in no group: a terminal has none."""
        return Memberships()

    async def members(self, group: str) -> Sequence[str]:
        """Raise AdapterError: a terminal has no groups."""
        raise AdapterError("A terminal has no groups of people. Name people in `[groups]`.", is_permanent=True)

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        """Return nothing: a terminal has no threads."""
        return Earlier()

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the file as it is now, one byte more than `max_bytes` at most.

        Raises:
            AdapterError: It is gone or cannot be read; a sentence for the person.
        """
        return await asyncio.to_thread(read_shared, file, max_bytes=max_bytes)
