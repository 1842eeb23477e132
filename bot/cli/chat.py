"""`toolbridge chat`: a conversation in the terminal, or one question.

Most imports are inside the functions: the prompt is shown while the parts behind it are still being imported.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
from argparse import Namespace
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bot.domain.answers import (
    Accepted,
    Answered,
    Decided,
    Example,
    Explained,
    Formed,
    Rated,
    Refused,
    Revised,
    Submitted,
)
from bot.domain.errors import SettingsError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FeedbackGiven,
    FormAsked,
    FormSubmitted,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)
from bot.ports.cluster import LoneCluster
from bot.ports.http import NoListener

if TYPE_CHECKING:
    from bot.domain.people import Actor, Asker
    from bot.ports.platform import Adapter, Host
    from bot.ports.tools import Offer, ServerStatus
    from bot.settings import Settings

SUMMARY_S = 30.0  # for the summary of a long conversation, which is made when the answer of `-m` is there already
DRAIN_S = 0.2  # nobody who leaves a chat waits for its turn: the next start takes it up


async def chat(arguments: Namespace) -> int:
    """Converse until the user leaves; with `arguments.message`, ask that and return 1 where it was not answered.

    Raises:
        SettingsError: A setting is wrong, the folder's files may not be used, or the arguments do not fit together.
        UnknownConversationError: There is no conversation as the one to go on with.
        StoreError: The database cannot be used.
        AdapterError: The terminal is gone.
    """
    gc.disable()  # imports make objects that all stay: collecting meanwhile takes a fifth of the start
    from adapters.registry import terminal
    from bot.cli.settings_looks import looks_at_parts
    from bot.cli.start import start
    from bot.cli.trust import require_trust
    from bot.models.factory import describe_model

    is_conversing = arguments.message is None
    if is_conversing and (arguments.json or arguments.quiet or arguments.attach):
        raise SettingsError("--json, --quiet and --attach go with -m TEXT. In a chat, /attach FILE attaches a file.")
    require_trust(arguments, may_ask=is_conversing)
    settings = start(arguments, logs_to_file=True, more_looks=looks_at_parts)
    if arguments.resume is not None or arguments.last:
        from bot.cli.resume import chosen_conversation

        arguments.conversation = await chosen_conversation(
            settings, arguments.resume or "", asks=is_conversing and not arguments.last
        )
    about = describe_model(settings)
    if settings.provider == "rehearsal" and settings.model_provider is None:
        about += await _model_of_this_machine()
    banner = about if is_conversing or settings.provider == "rehearsal" else ""
    if is_conversing:
        banner += f"\nConversation {arguments.conversation}. /help shows what can be done here."
    inputs = _ask_inputs(settings)
    host = PendingHost(about=about)
    adapter = terminal(arguments.conversation, host=host, settings=settings, banner=banner)
    serving = partial(_serving, settings, adapter, host, inputs=inputs, is_conversing=is_conversing)
    if is_conversing:
        await _converse(adapter, serving)
        return 0
    async with serving():
        style = "json" if arguments.json else "quiet" if arguments.quiet else "plain"
        return await adapter.ask_once(arguments.message, files=arguments.attach, says_yes=arguments.yes, style=style)


@asynccontextmanager
async def _serving(
    settings: Settings, adapter: Adapter, host: PendingHost, *, inputs: Mapping[str, str], is_conversing: bool
) -> AsyncGenerator[None]:
    """Open the bot behind the adapter and resolve its host; for one question, only once tool servers have answered."""
    await asyncio.to_thread(import_module, "bot.app")  # takes long: meanwhile the user can type
    from bot.app import open_app
    from bot.cli.servers import wait_for_servers
    from bot.cli.settings_looks import check_settings, looks_at_parts
    from bot.composition.tracing import open_tracing
    from bot.composition.watching import traced
    from bot.ports.observer import Watchers

    check_settings(settings, looks_at_parts())
    async with (
        open_tracing(settings, is_needed=False) as traces,
        open_app(
            settings,
            [_already_open(adapter)],
            drain_s=DRAIN_S,
            summary_s=0.0 if is_conversing else SUMMARY_S,
            inputs=inputs,
            watchers=traced(Watchers(), traces),
        ) as app,
    ):
        gc.freeze()  # collections leave out what the start has made
        gc.enable()
        if not is_conversing:
            await wait_for_servers(app.tools)
        host.resolve(app.host)
        yield


async def _model_of_this_machine() -> str:
    """Return a line that names a model which runs here, and how it is connected; empty where none is seen at once."""
    from bot.models.local import find_local, usual_places
    from bot.text.terminal import flat

    for server in await find_local(usual_places(os.environ)):
        name = flat(server.models[0].name)
        return f"\n{server.kind} runs here with {name}: `toolbridge setup --model {shlex.quote(name)}` connects it."
    return ""


def _ask_inputs(settings: Settings) -> Mapping[str, str]:
    if settings.mcp_config is None and not Path("mcp.json").is_file():
        return {}
    from bot.cli.servers import ask_inputs

    try:
        return ask_inputs(settings)
    except SettingsError:
        return {}  # is raised once more when the servers are loaded, below the prompt


async def _converse(adapter: Adapter, serving: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Show the prompt at once; what is behind it is opened while the user reads and types."""
    has_left = asyncio.Event()

    async def serve() -> None:
        async with serving():
            await has_left.wait()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            await adapter.run()
            has_left.set()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _already_open(adapter: Adapter) -> Callable[[Host], AbstractAsyncContextManager[Adapter]]:
    @asynccontextmanager
    async def opened(_host: Host) -> AsyncGenerator[Adapter]:
        yield adapter

    return opened


class PendingHost:
    """A Host for an adapter that starts before the app is open; what needs the app waits for `resolve`."""

    def __init__(self, *, about: str) -> None:
        self._about = about
        self._host: asyncio.Future[Host] = asyncio.get_running_loop().create_future()

    def resolve(self, host: Host) -> None:
        """Pass everything to this host from now on; called once."""
        self._host.set_result(host)

    async def opened(self) -> Host:
        """Return the host as soon as there is one."""
        return await asyncio.shield(self._host)

    @property
    def known(self) -> Host | None:
        """The host, None as long as it is pending."""
        return self._host.result() if self._host.done() else None

    @property
    def notes(self) -> _PendingNotes:
        return _PendingNotes(self)

    @property
    def directory(self) -> _PendingDirectory:
        return _PendingDirectory(self)

    @property
    def http(self) -> NoListener:
        return NoListener()

    @property
    def cluster(self) -> LoneCluster:
        return LoneCluster()  # the terminal shares no place

    @property
    def about(self) -> str:
        return self._about if self.known is None else self.known.about

    async def accept(self, event: MessageReceived) -> Accepted:
        return await (await self.opened()).accept(event)

    async def revise(self, event: MessageEdited | MessageDeleted) -> Revised:
        return await (await self.opened()).revise(event)

    async def command(self, event: CommandInvoked) -> Answered:
        return await (await self.opened()).command(event)

    async def may_ask(self, event: MessageReceived) -> Refused | None:
        return await (await self.opened()).may_ask(event)

    def is_muted(self, actor: Actor, *, decides: bool = False) -> bool:
        return self.known is not None and self.known.is_muted(actor, decides=decides)

    def may_look_up(self, event: CommandInvoked) -> bool:
        return self.known is None or self.known.may_look_up(event)

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        return await (await self.opened()).expects_follow_ups(conversation)

    async def details(self, event: DetailsAsked) -> Explained:
        return await (await self.opened()).details(event)

    async def rate(self, event: FeedbackGiven) -> Rated:
        return await (await self.opened()).rate(event)

    async def decide(self, event: DecisionMade) -> Decided:
        return await (await self.opened()).decide(event)

    async def form(self, event: FormAsked) -> Formed:
        return await (await self.opened()).form(event)

    async def submit(self, event: FormSubmitted) -> Submitted:
        return await (await self.opened()).submit(event)


class _PendingNotes:
    """The notes of a host that may be pending."""

    def __init__(self, pending: PendingHost) -> None:
        self._pending = pending

    async def notes(self, prefix: str) -> Mapping[str, str]:
        return await (await self._pending.opened()).notes.notes(prefix)

    async def put_note(self, name: str, text: str | None) -> None:
        await (await self._pending.opened()).notes.put_note(name, text)


class _PendingDirectory:
    """The tools of a host that may be pending; no server is known before it is there."""

    def __init__(self, pending: PendingHost) -> None:
        self._pending = pending

    async def offer(self, asker: Asker | None) -> Offer:
        return await (await self._pending.opened()).directory.offer(asker)

    async def examples(self) -> Sequence[Example]:
        return await (await self._pending.opened()).directory.examples()

    def status(self) -> Sequence[ServerStatus]:
        host = self._pending.known
        return host.directory.status() if host is not None else ()
