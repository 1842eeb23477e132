"""The people of the loopback Slack: Ada, Ben and Cleo in one channel, where a conversation is a thread."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from adapters.slack.answer import PART_CHARS
from adapters.slack.backfill import ALIVE
from adapters.slack.backfill import CHANNEL as CHANNEL_NOTE
from adapters.slack.diagnose import diagnose
from adapters.slack.options import SlackOptions
from adapters.slack.own_messages import GROWING
from bot.app import App, OpenAdapter
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
from bot.domain.messages import Message as StoredMessage
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Patience
from tests.fakes.slack import FakeSlack, Message, StoredFile, typed
from tests.fakes.slack.server import Hang
from tests.scenarios.drivers.asks import SLACK_USERS as USERS
from tests.scenarios.drivers.asks import SlackAsked, SlackWindow, is_slack_ask, opened_in_slack
from tests.scenarios.drivers.driver import (
    Alert,
    Conversation,
    Door,
    File,
    Kind,
    LongAnswer,
    PassOn,
    Person,
    Rating,
    Rows,
)
from tests.scenarios.drivers.reading import ended_calls
from tests.scenarios.model import Model
from tests.scenarios.slack import pressing, seen
from tests.scenarios.slack.serving import Bot, Mode, open_world, serving
from tests.scenarios.slack.threads import Thread, check_exactly
from tests.scenarios.tools import without_tools

HOURGLASS = "hourglass_flowing_sand"
CHANNEL = "C1"
POSTING = (
    "chat.postMessage",
    "chat.update",
    "chat.startStream",
    "chat.appendStream",
    "chat.stopStream",
    "files.completeUploadExternal",
)


@dataclass
class SlackQuestion:
    """A message of a person."""

    slack: FakeSlack
    channel: str
    ts: str

    @property
    def is_waiting(self) -> bool:
        return HOURGLASS in self.slack.reactions(self.channel, self.ts)

    @property
    def is_unmarked(self) -> bool:
        return not self.slack.reactions(self.channel, self.ts)

    async def edit(self, text: str, *, mention: bool = False) -> None:
        await self.slack.edit(self.channel, self.ts, f"<@UBOT> {text}" if mention else text)
        await self.slack.settled()

    async def edit_table(self, rows: Rows) -> None:
        await self.slack.edit(self.channel, self.ts, attachments=[typed.pasted_table(rows, self.slack.next_id("t"))])
        await self.slack.settled()

    async def delete(self) -> None:
        await self.slack.delete(self.channel, self.ts)
        await self.slack.settled()


class SlackConversation:
    """A thread, which begins with the first question, or with `root`."""

    def __init__(self, driver: SlackDriver, channel: str, root: str = "") -> None:
        self._driver = driver
        self._channel = channel
        self._root = root

    @property
    def thread(self) -> Thread:
        assert self._root, "nothing was asked yet"
        return Thread(slack=self._driver.slack, bot=self._driver.served, channel=self._channel, root=self._root)

    @property
    def key(self) -> ConversationKey:
        return self.thread.key

    async def ask(
        self, text: str, *, by: Person = "ada", files: Sequence[File] = (), deliver: bool = True
    ) -> SlackQuestion:
        return await self._write(text, by=by, files=files, deliver=deliver, mention=not self._root)

    async def say(
        self, text: str, *, by: Person = "ada", to: Person | None = None, deliver: bool = True
    ) -> SlackQuestion:
        return await self._write(f"<@{USERS[to]}> {text}" if to else text, by=by, deliver=deliver)

    async def mention(
        self, text: str = "", *, by: Person = "ada", files: Sequence[File] = (), table: Rows = ()
    ) -> SlackQuestion:
        tables = [typed.pasted_table(table, self._driver.slack.next_id("t"))] if table else []
        return await self._write(text, by=by, files=files, attachments=tables, mention=True)

    async def forward(
        self, words: str, text: str, *, of: Person, by: Person = "ada", files: Sequence[File] = ()
    ) -> SlackQuestion:
        slack = self._driver.slack
        if "C2" not in slack.channels:
            slack.add_channel("C2", members=list(USERS.values()), bot_is_member=False, name="elsewhere")
        ts = await slack.say("C2", USERS[of], words, files=self._sent(files))
        original: dict[str, Any] = slack.message_json(slack.message("C2", ts)) | {"channel": "C2"}
        name = slack.users[USERS[of]].display_name
        shared = typed.forward(original, name=name, channel_name="elsewhere", files=original.get("files", []))
        return await self._write(text, by=by, attachments=[shared], mention=True)

    async def say_as_app(self, text: str, *, mention: bool = False) -> SlackQuestion:
        slack = self._driver.slack
        ts = await slack.say_as_other_bot(self._channel, f"<@UBOT> {text}" if mention else text, self._root or None)
        await slack.settled()
        return SlackQuestion(slack, self._channel, ts)

    async def alert(self, alert: Alert) -> None:
        await self._driver.post_alert(alert, self._channel, self._root or None)

    def _sent(self, files: Sequence[File]) -> list[StoredFile]:
        slack = self._driver.slack
        return [slack.add_file(file.name, file.content, mimetype=file.content_type) for file in files]

    async def _write(
        self,
        text: str,
        *,
        by: Person,
        files: Sequence[File] = (),
        attachments: Sequence[Mapping[str, Any]] = (),
        deliver: bool = True,
        mention: bool = False,
    ) -> SlackQuestion:
        slack = self._driver.slack
        is_direct = self._channel.startswith("D")
        ts = await slack.say(
            self._channel,
            USERS[by],
            text,
            self._root or None,
            files=self._sent(files),
            attachments=[dict(each) for each in attachments],
            mention=mention and not is_direct,
            deliver=deliver,
        )
        self._root = self._root or ts
        return SlackQuestion(slack, self._channel, ts)

    @property
    def messages(self) -> Sequence[Message]:
        return self.thread.messages

    @property
    def answers(self) -> Sequence[Message]:
        return self.thread.answers

    @property
    def written(self) -> Sequence[Message]:
        return seen.answers(self._driver.slack, self._channel, self._root)

    @property
    def files(self) -> Mapping[str, bytes]:
        found = [file for message in self.messages for file in message.files]
        assert len({file.name for file in found}) == len(found), [file.name for file in found]
        return {file.name: file.content for file in found}

    @property
    def side_threads(self) -> int:
        return 0

    @property
    def texts(self) -> Sequence[str]:
        return self.thread.texts

    @property
    def growing(self) -> Sequence[Message]:
        return self.thread.growing

    @property
    def traces(self) -> Sequence[Message]:
        return self.thread.traces

    def notices(self, question: SlackQuestion, *, to: Person = "ada") -> Sequence[str]:
        told = self._driver.slack.ephemerals(USERS[to])
        return [message.shown for message in told if message.thread_ts == self._root]

    async def answered(self, times: int = 1) -> Sequence[str]:
        return await self.thread.answered(times)

    async def at_work(self) -> None:
        slack = self._driver.slack
        await slack.until(lambda: slack.status(self._channel, self._root) == "processing")

    async def stop(self, way: str) -> None:
        slack = self._driver.slack
        match way:
            case "button":
                await slack.press_stop(self._channel, self._root, "U1")
            case "word":
                await self.thread.say("U1", "Stop")
            case "mention":
                await self.thread.say("U1", "stop", mention=True)
            case _:
                raise ValueError(way)

    async def details(self, *, by: Person = "ada", trace: int = 0) -> str:
        slack = self._driver.slack
        await slack.press(self._channel, self.traces[trace].ts, USERS[by], "tb:details")
        [view] = await slack.until(lambda: slack.views(USERS[by]))
        shown = slack.text_of(view)
        await slack.close_view(view.id, USERS[by])
        return shown

    async def rate(self, answer: int, rating: Rating, *, by: Person = "ada") -> str:
        slack = self._driver.slack
        before = len(slack.ephemerals(USERS[by]))
        message = self.answers[answer]
        await slack.press(self._channel, message.ts, USERS[by], "tb:feedback", value=f"{rating}:{answer + 1}")
        await slack.until(lambda: len(slack.ephemerals(USERS[by])) > before)
        return slack.ephemerals(USERS[by])[before].shown

    async def asked(self, number: int = 0) -> SlackAsked:
        def found() -> list[Message]:
            return [message for message in self.messages if is_slack_ask(message)][number:]

        return SlackAsked(self._driver.slack, (await self._driver.until(found))[0])

    async def stored(self) -> Sequence[StoredMessage]:
        return await self.thread.stored()

    async def stored_answers(self) -> Sequence[str]:
        return await self.thread.stored_answers()

    async def check_whole(self, text: str) -> None:
        await check_exactly(self.thread, text)

    def check_answered(self, *questions: SlackQuestion) -> None:
        pass  # a thread shows only the order, which is that of the answers' texts

    def check_parts(self, question: SlackQuestion) -> None:
        assert len(self.texts) >= 3
        for part in self.texts:
            assert len(part) <= PART_CHARS
            assert part.count("```") % 2 == 0
            if "| row" in part:
                assert "| a | b |" in part
        assert len(self._driver.slack.calls_of("chat.startStream")) == len(self.texts)

    # --- as on the terminal

    async def converse(self, text: str, *, tools: int = 0) -> tuple[str, str]:
        seen, asked = (len(self.traces), len(self.answers)) if self._root else (0, 0)
        await self.ask(text)
        await self.answered(asked + 1)

        def shown() -> str:
            return "\n".join(trace.shown for trace in self.traces[seen:])

        await self._driver.until(lambda: len(ended_calls(shown())) == tools)
        return self.texts[-1], shown()

    async def command(self, name: str, argument: str = "") -> str:
        """Write the command as a word, with a mention; only its author sees the answer."""
        ada = pressing.Person(slack=self._driver.slack)
        before = len(ada.answers)
        await self.thread.say("U1", f"{name} {argument}", mention=True)
        return (await ada.next_answer(after=before)).shown


@dataclass
class SlackPages:
    """An ephemeral message with pages."""

    person: pressing.Person
    message: Message

    @property
    def text(self) -> str:
        return self.message.shown

    @property
    def buttons(self) -> Sequence[str]:
        return pressing.labels(self.message.blocks)

    async def turn(self, label: Literal["Next", "Previous"]) -> str:
        return await self.person.turn(self.message, "tb:page:next" if label == "Next" else "tb:page:prev")


class SlackDriver:
    """See `Driver`."""

    name = "slack"
    direct: Mapping[str, Any] = {}
    long_answer = LongAnswer(words_before=400, lines=450, rows=150, row_chars=60, words_after=300)
    pings = "<!channel> <!here> <!everyone> <@U2> <!subteam^S1>"
    history_pages = 2
    no_history = "no conversations in this channel yet"
    usage_there: Sequence[str] = ()  # a slash command is about the channel, which is no conversation
    presence_note = CHANNEL_NOTE
    post_call = "chat.postMessage"
    edit_call = "chat.update"
    begins_threads = False
    ways_to_stop = ("button", "word", "mention")
    refusals: Mapping[str, str] = {
        "restricted_action_read_only_channel": "I may not write in this channel",
        "restricted_action_thread_locked": "This thread is locked",
        "cannot_reply_to_message": "does not allow replies to that message",
        "no_permission": "settings of this workspace",
        "ekm_access_denied": "settings of this workspace",
        "msg_too_long": "longer than Slack takes",
        "not_in_channel": "I am not in this channel",
        "some_new_code": "some_new_code",
    }
    ailments: Mapping[str, Sequence[str]] = {
        "bot token": ["invalid_auth", "SLACK_BOT_TOKEN", "reinstall"],
        "app token": ["invalid_auth", "SLACK_APP_TOKEN", "connections:write"],
        "bot token as app token": ["not_allowed_token_type", "SLACK_APP_TOKEN", "connections:write"],
        "app token as bot token": ["not_allowed_token_type", "SLACK_BOT_TOKEN"],
        "unreachable": ["cannot be reached (127.0.0.1:9: Connection refused)", "network", "SLACK_API_URL"],
    }

    def __init__(self, slack: FakeSlack, model: Model, home: Path, *, mode: Mode) -> None:
        self.slack = slack
        self.model = model
        self.home = home
        self._mode: Mode = mode
        self._hangs: list[Hang] = []
        self.served: Bot | None = None  # in this process; None while the bot is away or a process of its own

    # --- the lives of the bot

    @property
    def app(self) -> App:
        assert self.served is not None, "the bot is not served in this process"
        return self.served.app

    @asynccontextmanager
    async def serving(
        self,
        *,
        options: Mapping[str, Any] | None = None,
        patience: Patience | None = None,
        beside: Sequence[OpenAdapter] = (),
        **settings: Any,
    ) -> AsyncGenerator[Conversation]:
        async with serving(
            self.slack,
            self.model,
            self.home,
            mode=self._mode,
            options=options,
            settings={**without_tools(self.home), **settings},
            patience=patience,
            beside=beside,
        ) as self.served:
            yield await self.open()

    @asynccontextmanager
    async def sharing(self, **settings: Any) -> AsyncGenerator[tuple[Conversation, PassOn]]:
        assert self._mode == "http", "with sockets, Slack chooses the process"
        given = {**without_tools(self.home), **settings}
        async with self.serving(**settings) as conversation, AsyncExitStack() as others:

            async def pass_on() -> None:
                other = serving(self.slack, self.model, self.home, mode=self._mode, settings=given)
                await others.enter_async_context(other)  # its address is the one that Slack knows now

            yield conversation, pass_on

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "SLACK_API_URL": self.slack.api_url,
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_APP_TOKEN": "xapp-test",
        }

    # --- people

    async def open(self, kind: Kind = "channel", *, by: Person = "ada") -> SlackConversation:
        return SlackConversation(self, self.slack.dm(USERS[by]) if kind == "direct" else CHANNEL)

    async def begin(self, said: str | Alert, *, by: Person = "ada") -> SlackConversation:
        if isinstance(said, Alert):
            root = await self.post_alert(said, CHANNEL)
        else:
            root = await self.slack.say(CHANNEL, USERS[by], said)
        return SlackConversation(self, CHANNEL, root)

    async def post_alert(self, alert: Alert, channel: str, thread: str | None = None) -> str:
        """Have the app Uptime post it as a webhook does; return its timestamp."""
        attachment = typed.alert(alert.title, alert.text, fields=alert.fields, footer=alert.footer)
        return await self.slack.say_as_other_bot(
            channel, thread_ts=thread, app="Uptime", attachments=[attachment], is_integration=True
        )

    def hide_threads(self) -> None:
        self.slack.fail_next("conversations.replies", times=1_000, error="missing_scope")

    @property
    def calls_to_others(self) -> Sequence[str]:
        return ["<@U2>", "<!subteam^S1>", "<!here>", "<!channel>", "<!everyone>"]

    @property
    def app_ids(self) -> Sequence[str]:
        return ["slack:T1:BOTHER", "slack:T1:UOTHERBOT"]

    async def mutter(self, text: str, *, by: Person = "ada", deliver: bool = True) -> None:
        await self.slack.say(CHANNEL, USERS[by], text, deliver=deliver)

    async def chatter(self, conversation: Conversation) -> None:
        assert isinstance(conversation, SlackConversation)
        thread = conversation.thread
        await self.slack.say(CHANNEL, "U2", "good morning everybody")
        await thread.say("U1", "<@U2> what do you think?")
        await self.slack.join(CHANNEL, "U3")
        await self.slack.say_as_other_bot(CHANNEL, "<@UBOT> build 17 has failed")
        await self.slack.say_as_other_bot(CHANNEL, "build 17 has failed", thread.root)
        other = await self.slack.say(CHANNEL, "U2", "lunch?")
        await self.slack.say(CHANNEL, "U3", "gladly", other)  # a thread in which the bot does not take part

    @property
    def in_channel(self) -> Sequence[Message]:
        return self.slack.visible(CHANNEL)

    @property
    def is_connected(self) -> bool:
        return len(self.slack.open_sockets()) >= 2

    @property
    def is_settled(self) -> bool:
        return all(delivery.acked_at for delivery in self.slack.acks)

    @property
    def is_gone(self) -> bool:
        return not self.slack.open_sockets()

    def user_id(self, person: Person) -> str:
        return USERS[person]

    async def until(self, condition: Any, timeout_s: float = 60.0) -> Any:
        return await self.slack.until(condition, timeout_s)

    async def command(self, name: str, argument: str = "", *, by: Person = "ada") -> str:
        person = pressing.Person(slack=self.slack, user=USERS[by])
        return (await person.slash(f"/{name}", argument)).shown

    async def run_tool(self, tool: str, arguments: str = "", *, by: Person = "ada") -> SlackConversation:
        number = len(self._runs())
        await self.slack.slash(CHANNEL, USERS[by], "/run", f"{tool} {arguments}")
        return await self.running(number)

    async def run_form(self, tool: str, *, by: Person = "ada") -> SlackWindow:
        await self.slack.slash(CHANNEL, USERS[by], "/run", tool)
        return await opened_in_slack(self.slack, by)

    async def running(self, number: int = 0) -> SlackConversation:
        said = (await self.until(lambda: self._runs()[number:]))[0]
        return SlackConversation(self, CHANNEL, said.ts)

    def _runs(self) -> Sequence[Message]:
        return [message for message in self.slack.bot_messages(CHANNEL) if "> runs: " in message.text]

    def notation(self, person: Person) -> str:
        return f"slack:T1:{USERS[person]}"

    async def history(self) -> SlackPages:
        person = pressing.Person(slack=self.slack)
        message = await person.slash("/history")
        await person.pick(message, "First")
        return SlackPages(person, message)

    async def remember(self, texts: Sequence[str]) -> None:
        await pressing.remember(self.home, thread="1.5", texts=texts)
        await pressing.remember(self.home, thread="2.5", texts=["Second?"])  # so that there is one to pick

    def private(self, person: Person) -> Sequence[str]:
        return [message.shown for message in self.slack.ephemerals(USERS[person])]

    # --- time, and what goes wrong

    def advance(self, seconds: float) -> None:
        self.slack.advance(seconds)

    async def noted(self) -> None:
        pass  # each answer is noted before it is seen

    async def was_there(self, seconds_ago: float) -> None:
        async with open_sqlite(self.home / "toolbridge.db") as store:
            await store.put_note(f"{ALIVE}T1", f"{time.time() - seconds_ago:.3f}")

    def be_impatient(self) -> None:
        self.slack.ack_timeout_s = 1.0

    @property
    def calls(self) -> int:
        return len(self.slack.calls)

    @property
    def looks_back(self) -> int:
        return len(self.slack.calls_of("conversations.history"))

    def deliver_next_again(self) -> None:
        self.slack.duplicate_next(3)

    async def settled(self) -> None:
        await self.slack.settled()

    async def cut(self) -> None:
        await self.slack.cut_sockets()

    def release_held(self) -> None:
        for hang in self._hangs:
            hang.released.set()

    async def notice_death(self) -> None:
        self.release_held()
        await self.slack.cut_sockets()

    def hold_next(self, call: str, *, is_done: bool = True, behind: Door | None = None) -> None:
        def is_covered(arguments: Mapping[str, Any]) -> bool:
            return behind is None or _door(arguments) == behind

        self._hangs.append(self.slack.hang_next(call, is_done=is_done, where=is_covered))

    async def until_held(self) -> None:
        await self.until(lambda: any(hang.reached.is_set() for hang in self._hangs))

    async def crowd(self, count: int, *, channels: int) -> Sequence[SlackConversation]:
        self.slack.rates.are_enforced = True
        rooms = [self.slack.add_channel(f"C{number + 100}", members=["U1"]).id for number in range(channels)]
        return [SlackConversation(self, rooms[number % channels]) for number in range(count)]

    def fail_downloads(self, fault: Literal["503", "drop"]) -> None:
        details: dict[str, Any] = {"status": 503} if fault == "503" else {"drop": "before"}
        self.slack.fail_next("download", times=10, **details)

    @property
    def limited_posts(self) -> int:
        return sum(call.status == 429 for call in self.slack.calls_of("chat.postMessage"))

    def fail_post(self, fault: str) -> None:
        match fault:
            case "429":
                self.slack.limit_next("chat.postMessage")
            case "500":
                self.slack.fail_next("chat.postMessage", status=500)
            case "before" | "after":
                self.slack.fail_next("chat.postMessage", drop=fault)
            case _:
                raise ValueError(fault)

    def close(self, refusal: str, *doors: Door) -> None:
        self.slack.refuse(*POSTING, error=refusal, where=lambda arguments: _door(arguments) in doors)

    def close_for_posts(self, refusal: str) -> None:
        self.slack.refuse(
            "chat.postMessage", "chat.startStream", error=refusal, where=lambda arguments: _door(arguments) == "place"
        )

    def refuse_files(self) -> str:
        self.slack.refuse("files.getUploadURLExternal", error="file_uploads_disabled")
        return "file_uploads_disabled"

    def fail_with(self, status: int, what: Literal["posts", "files"]) -> None:
        posts = (*POSTING, "chat.postEphemeral")
        self.slack.refuse(*(posts if what == "posts" else ("files.completeUploadExternal",)), status=status)

    def fail_place(self, status: int) -> None:
        self.slack.refuse(*POSTING, status=status, where=lambda arguments: _door(arguments) == "place")

    def heal(self) -> None:
        self.slack.clear_faults()

    def direct_messages(self, person: Person) -> Sequence[str]:
        return [message.shown for message in self.slack.bot_messages(self.slack.dm(USERS[person]))]

    def sentences(self, person: Person) -> Sequence[str]:
        shown = [message for message in self._own_messages() if not message.channel.startswith("D")]
        return [message.shown for message in (*shown, *self.slack.ephemerals(USERS[person]))]

    async def check_nothing_lives(self) -> None:
        await self.until(lambda: all(status == "active" for status in self.slack.sessions.values()))
        await self.until(lambda: all(self._is_at_rest(message) for message in self._own_messages()))

    def _own_messages(self) -> Sequence[Message]:
        rooms = self.slack.channels.values()
        return [message for room in rooms for message in room.messages.values() if self.slack.is_own(message)]

    def _is_at_rest(self, message: Message) -> bool:
        """Whether the message is no part of a growing answer; a stream that Slack lets nobody stop expires."""
        if message.is_streaming:
            return any(call.arguments["ts"] == message.ts for call in self.slack.calls_of("chat.stopStream"))
        return (message.metadata or {}).get("event_type") != GROWING

    def check_led_back(self, message: str) -> None:
        assert "/archives/C1/p" in message and "|your message> in <#C1>" in message

    @property
    def posts(self) -> int:
        return len(self.slack.calls_of("chat.postMessage"))

    @property
    def downloads(self) -> int:
        return len(self.slack.downloads)

    @property
    def sent(self) -> str:
        return json.dumps([call.arguments for call in self.slack.calls])

    # --- the operator's side

    async def diagnose(self, ailment: str) -> str:
        changes = {
            "bot token": {"bot_token": "xoxb-wrong"},
            "app token": {"app_token": "xapp-wrong"},
            "bot token as app token": {"app_token": "xoxb-test"},
            "app token as bot token": {"bot_token": "xapp-test"},
            "unreachable": {"api_url": "http://127.0.0.1:9/api/"},
        }
        options = SlackOptions(bot_token="xoxb-test", app_token="xapp-test", api_url=self.slack.api_url)
        said = await complaint(replace(options, **changes[ailment]))
        assert "-wrong" not in said
        return said

    # --- checks

    async def check_silence(self) -> None:
        await self.slack.settled()
        assert self.slack.bot_messages(CHANNEL) == []
        others = [message.ts for message in self.slack.visible(CHANNEL) if message.text == "lunch?"]
        assert [self.slack.bot_messages(CHANNEL, ts) for ts in others] == [[] for _ in others]
        assert self.slack.ephemeral_messages == []

    async def check_nobody_is_notified(self, *answers: Message) -> None:
        sent = "".join(str(call.arguments) for call in self.slack.calls if call.method.startswith("chat."))
        for ping in ("<!channel", "<!here", "<@U2", "<!subteam", "<!everyone"):
            assert ping not in sent
        for answer in answers:
            assert "!channel>" in answer.shown and "!everyone>" in answer.shown

    def check_manners(self) -> None:
        assert self.slack.told == []
        assert all(delivery.acked_at for delivery in self.slack.acks)


async def complaint(options: SlackOptions) -> str:
    """Return what a check-up finds wrong, in the one way or the other."""
    try:
        found = await diagnose(options)
    except AdapterError as error:
        return str(error)
    assert found.cure
    return f"{found.detail} {found.cure}"


@asynccontextmanager
async def open_driver(home: Path, *, mode: Mode = "socket") -> AsyncGenerator[SlackDriver]:
    async with open_world() as (slack, model):
        yield SlackDriver(slack, model, home, mode=mode)


def _door(arguments: Mapping[str, Any]) -> Door:
    """Return behind which door a call acts."""
    if str(arguments.get("channel") or arguments.get("channel_id")).startswith("D"):
        return "direct"
    return "place" if "thread_ts" in arguments or "ts" in arguments else "channel"
