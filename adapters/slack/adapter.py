"""Slack as a chat platform: the Adapter port."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import assert_never

import aiohttp
import structlog
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.shared.progress import LiveTurn, LiveTurns
from adapters.shared.tasks import Background, Queues, Recent
from adapters.slack.answer import PART_CHARS, AnswerWriter
from adapters.slack.api import Tokens, Web, open_client
from adapters.slack.backfill import Backfill, Written
from adapters.slack.errors import SlackRefusedError
from adapters.slack.files import download, file_name, upload
from adapters.slack.identities import Identities, Identity
from adapters.slack.installs import Installations, InstalledTokens, NoteStates, OneToken
from adapters.slack.interactions import Interactions
from adapters.slack.limits import RATES, Limits, Rate
from adapters.slack.own_messages import OwnMessage, Place, find_own, notice_mark, post_mark
from adapters.slack.parse import PLATFORM, Arrived, HomeOpened, message_ts, parse_event, parse_press, parse_slash
from adapters.slack.people import People, mentions, with_names
from adapters.slack.progress import Pace, open_live
from adapters.slack.refusals import Refusals
from adapters.slack.render import answer_blocks, neutralize, notification
from adapters.slack.session import Body, Doors, OAuth, Session, Watch
from adapters.slack.traces import TraceLevel
from bot.domain.answers import Receipt
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    SharedFile,
)
from bot.domain.messages import Attachment
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found, Receive
from bot.ports.store import Notes
from bot.text.split import split_markdown

log = structlog.stdlib.get_logger(__name__)

MAX_TOLD = 1_000
MAX_GONE = 1_000
MAX_UPLOADED = 1_000
MAX_DIRECT = 1_000
MAX_SIGNS = 2_000
MAX_NAMED = 20  # people in one message whose names are looked up; Slack answers 100 a minute
# Deliveries may overtake each other: a follow-up is kept for so long, in case that the message it follows comes later.
EARLY_S = 10.0
MAX_EARLY = 200
WAITING_SIGN = "hourglass_flowing_sand"
# What is pressed there is kept, then acknowledged, for as long as Slack waits: three seconds, the way included.
STORED_PRESSES = ("tb:example:", "tb:feedback")
PRESS_WAIT_S = 1.5
DRAIN_S = 3.0  # what is still to be shown of turns that have ended gets so long when the process ends
Message = MessageReceived | MessageEdited | MessageDeleted
_NOT_THERE = frozenset({"not_in_channel", "channel_not_found", "is_archived", "restricted_action"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackOptions:
    """How to reach Slack. Either `bot_token`, or `client_id` and `client_secret` for several workspaces."""

    bot_token: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    api_url: str = "https://slack.com/api/"
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    command_prefix: str = ""
    backfill_minutes: float = 15.0
    trace: TraceLevel = "summary"
    rates: Mapping[str, Rate] = field(default_factory=lambda: RATES)
    pace: Pace = field(default_factory=Pace)
    watch: Watch = field(default_factory=Watch)


class Notebook:
    """The core's notes, which are there only once the core is."""

    def __init__(self) -> None:
        self._notes: Notes | None = None

    def fill(self, notes: Notes) -> None:
        """Take the notes."""
        self._notes = notes

    async def notes(self, prefix: str) -> Mapping[str, str]:
        """Return the notes whose names begin so."""
        return await self._notes.notes(prefix) if self._notes else {}

    async def put_note(self, name: str, text: str | None) -> None:
        """Keep the text under that name; None forgets it."""
        if self._notes:
            await self._notes.put_note(name, text)


@asynccontextmanager
async def open_slack(options: SlackOptions) -> AsyncGenerator[SlackAdapter]:
    """Open the adapter; posts can be made until the end of the context, which `run` need not reach."""
    async with AsyncExitStack() as stack:
        # No timeout of its own: each call has one. The API's own limits bound how many connections there can be.
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=200))
        )
        notebook = Notebook()
        oauth: OAuth | None = None
        tokens: Tokens = OneToken(options.bot_token)
        if options.client_id:
            rotator = AsyncTokenRotator(
                client_id=options.client_id,
                client_secret=options.client_secret,
                client=open_client(session, base_url=options.api_url),
            )
            installations = Installations(notebook, rotator=rotator)
            tokens = InstalledTokens(installations)
            oauth = OAuth(
                client_id=options.client_id,
                client_secret=options.client_secret,
                installations=installations,
                tokens=tokens,
                states=NoteStates(notebook),
            )
        web = Web(tokens, session, base_url=options.api_url, limits=Limits(options.rates))
        people = await stack.enter_async_context(People(web))
        adapter = SlackAdapter(options, web=web, people=people, notebook=notebook, oauth=oauth)
        stack.push_async_callback(adapter.drain)
        yield adapter


class SlackAdapter:
    """See `bot.ports.platform.Adapter`. Made by `open_slack`."""

    name = PLATFORM
    serves = f"{PLATFORM}/"

    def __init__(
        self, options: SlackOptions, *, web: Web, people: People, notebook: Notebook, oauth: OAuth | None
    ) -> None:
        self._options = options
        self._web = web
        self._people = people
        self._notebook = notebook
        self._oauth = oauth
        self._identities = Identities(web)
        self._refusals = Refusals()
        self._uploaded: Recent[tuple[str, int], None] = Recent(MAX_UPLOADED)
        # keys of posts of whose files one may be there unknown to us
        self._unsure_uploads: Recent[str, None] = Recent(MAX_UPLOADED)
        self._direct: Recent[str, Place] = Recent(
            MAX_DIRECT
        )  # posts that were sent to the one who asked, by their keys
        self._background = Background(PLATFORM)
        self._live = LiveTurns(self._open_live, self._background)
        self._order: Queues[ConversationKey] = Queues()
        self._signs: Recent[str, asyncio.Task[None]] = Recent(MAX_SIGNS)
        self._told: Recent[tuple[str, str], None] = Recent(MAX_TOLD)
        # Deleted messages: their own deliveries may come minutes later.
        self._gone: Recent[str, None] = Recent(MAX_GONE)
        self._early: deque[tuple[float, MessageReceived]] = deque(maxlen=MAX_EARLY)  # in seconds of the loop's clock
        self._receive: Receive | None = None
        self._interactions: Interactions | None = None
        self._backfill: Backfill | None = None
        self.session: Session | None = None

    def remember_in(self, notes: Notes) -> None:
        """Take the core's notes: installations, and what backfill needs."""
        self._notebook.fill(notes)

    # --- what arrives ------------------------------------------------------------------------------------------

    async def run(self, receive: Receive) -> None:
        """Receive deliveries until cancelled, and what was written while the bot was away.

        Raises:
            AdapterError: Slack does not let the bot in, and trying again cannot help.
        """
        self._receive = receive
        identity = await self._who_am_i()
        self._interactions = Interactions(
            web=self._web,
            people=self._people,
            receive=receive,
            take=self._take,
            prefix=self._options.command_prefix,
            bot_name=identity.user_name if identity else "toolbridge",
        )
        self._backfill = Backfill(
            self._web,
            identities=self._identities,
            notes=self._notebook,
            max_age_s=60 * self._options.backfill_minutes,
            tick_s=self._options.watch.note_s,
            take=self._take,
        )
        self.session = session = Session(
            Doors(
                app_token=self._options.app_token,
                signing_secret=self._options.signing_secret,
                host=self._options.http_host,
                port=self._options.http_port,
            ),
            web=self._web,
            identities=self._identities,
            handle=self._handle,
            oauth=self._oauth,
            watch=self._options.watch,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(session.run(), name="slack:session")
                group.create_task(self._fill_gaps(self._backfill, session), name="slack:backfill")
        except* BotError as failures:
            raise failures.exceptions[0] from None

    async def _who_am_i(self) -> Identity | None:
        """Return who the bot is in the only workspace, asking until Slack answers; None where there are several."""
        wait_s = 1.0
        while self._oauth is None:
            try:
                identity = await self._identities.of("")
            except AdapterError as error:
                if error.is_permanent:
                    raise
                log.warning("slack_unreachable", error=str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 60.0)
            else:
                log.info("slack_bot", team=identity.team, user=identity.user)
                return identity
        return None

    async def _fill_gaps(self, backfill: Backfill, session: Session) -> None:
        while True:
            try:
                await backfill.run(session)
            except BotError as error:  # the store's: it is there again later
                log.warning("backfill_failed", error=str(error))
            except Exception:  # what cannot be made up for must not end what is delivered
                log.exception("backfill_failed")
            await asyncio.sleep(self._options.watch.note_s)

    async def _handle(self, body: Body, bot_user: str) -> None:
        """Take one delivery; when this returns, Slack is told that it arrived."""
        interactions = self._ready_interactions()
        if "command" in body:
            self._background.spawn(
                interactions.slash(parse_slash(body, prefix=self._options.command_prefix)), name="slash"
            )
        elif body.get("type") == "event_callback":
            await self._handle_event(parse_event(body, bot_user=bot_user), interactions)
        elif (pressed := parse_press(body)) is not None:
            pressing = self._background.spawn(interactions.press(pressed), name="press")
            if pressed.action.startswith(STORED_PRESSES):
                await asyncio.wait([pressing], timeout=PRESS_WAIT_S)

    async def _handle_event(self, arrived: Arrived | None, interactions: Interactions) -> None:
        match arrived:
            case None:
                pass
            case HomeOpened():
                self._background.spawn(interactions.home(arrived), name="home")
            case CommandInvoked():
                self._background.spawn(self._take_command(arrived, interactions), name="command")
            case MessageReceived() | MessageEdited() | MessageDeleted():
                await self._take(arrived)
            case _:
                assert_never(arrived)

    async def _take_command(self, invoked: CommandInvoked, interactions: Interactions) -> None:
        async with self._order.turn(invoked.conversation):
            pass  # by now the question before it is stored, which a `stop` may be meant for
        await interactions.command(invoked)

    async def _take(self, event: Written) -> None:
        """Hand a message, or a change to one, to the core; returns once it is stored. Raises StoreError.

        Messages of one conversation are handed over in the order in which they came, whoever's name is looked up.
        """
        if isinstance(event, CommandInvoked):
            return  # one that was missed: whoever wanted it has long invoked it again
        if isinstance(event, MessageDeleted):
            self._gone.put(event.event_key, None)
        elif event.event_key in self._gone:
            return
        async with self._order.turn(event.conversation):
            named = await self._with_names(event)
            try:
                receipt = await self._core()(named)
            except BotError as error:
                self._background.spawn(self._tell_once(named, str(error)), name="tell")
                raise
        self._show_receipt(named, receipt)
        if isinstance(event, MessageReceived):
            self._mind_order(event, receipt)

    def _mind_order(self, event: MessageReceived, receipt: Receipt) -> None:
        """Keep a follow-up that is not for the bot as it seems; hand it over after the mention that it followed."""
        now = asyncio.get_running_loop().time()
        if receipt.is_ignored:
            self._early.append((now, event))
        elif event.is_addressed and receipt.is_new and receipt.turn_id is not None:
            for at, early in list(self._early):
                is_later = message_ts(early.event_key) > message_ts(event.event_key)
                if early.conversation == event.conversation and is_later and now - at < EARLY_S:
                    self._background.spawn(self._take(early), name="early")

    async def _with_names(self, event: Message) -> Message:
        match event:
            case MessageReceived():
                return await self._with_names_in(event)
            case MessageEdited():
                return replace(event, message=await self._with_names_in(event.message))
            case MessageDeleted():
                return event

    async def _with_names_in(self, message: MessageReceived) -> MessageReceived:
        team = message.conversation.space
        bot_user = (await self._identities.of(team)).user
        mentioned = sorted(mentions(message.text) - {bot_user, message.author_id})
        people = [message.author_id, *mentioned[: MAX_NAMED - 1]]
        names = await asyncio.gather(*(self._people.name(team, person) for person in people))
        known = dict(zip(people, names, strict=True))
        return replace(
            message, author_name=known[message.author_id], text=with_names(message.text, known, bot_user).strip()
        )

    def _show_receipt(self, event: Message, receipt: Receipt) -> None:
        """Show what became of a message, without keeping its acknowledgement waiting."""
        if receipt.is_ignored:
            return
        if receipt.notice:
            self._background.spawn(self._tell_once(event, receipt.notice), name="tell")
        if not isinstance(event, MessageReceived) or receipt.turn_id is None:
            return
        if self._backfill is not None:
            self._background.spawn(self._backfill.note(event.conversation), name="note")
        if receipt.is_new and receipt.waits_behind:
            self._signs.put(event.event_key, self._background.spawn(self._add_sign(event), name="sign"))

    async def _tell_once(self, event: Message, text: str) -> None:
        """Tell what became of a message, once: it comes in two deliveries, and Slack may repeat each."""
        told = (event.event_key, text)
        if told in self._told:
            return
        self._told.put(told, None)
        await self._tell(event, text)

    async def _tell(self, event: Message, text: str) -> None:
        author = event.message.author_id if isinstance(event, MessageEdited) else getattr(event, "author_id", "")
        if author:
            await self._ready_interactions().tell(event.conversation, author, text)

    # --- the sign of a message that waits ----------------------------------------------------------------------

    async def _add_sign(self, event: MessageReceived) -> None:
        await self._react("reactions.add", event.conversation, event.event_key)

    async def _remove_sign(self, view: TurnView) -> None:
        if not view.has_waited:
            return
        if (adding := self._signs.pop(view.in_reply_to)) is not None:
            await asyncio.wait([adding])
        await self._react("reactions.remove", view.conversation, view.in_reply_to)

    async def _react(self, method: str, conversation: ConversationKey, key: str) -> None:
        try:
            await self._web.call(
                method,
                team=conversation.space,
                may_repeat=True,
                channel=conversation.channel,
                timestamp=message_ts(key),
                name=WAITING_SIGN,
            )
        except AdapterError as error:
            log.info("sign_not_shown", method=method, error=str(error))

    # --- what is shown -----------------------------------------------------------------------------------------

    def show(self, view: TurnView) -> None:
        """Show progress; see `adapters.shared.progress.LiveTurn`."""
        self._live.show(view)

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into messages of 9,000 characters at most."""
        return split_markdown(neutralize(text), max_chars=PART_CHARS) or (text,)

    async def post(self, post: Post) -> str:
        """Let the post stand in its thread, with its files below it, and return its timestamp.

        What cannot be posted where it was asked for goes to the one who asked, with the reason.
        """
        if self._live.is_closed:
            raise AdapterError("The connection to Slack is closed. The answer is posted after the next start.")
        live = self._live.get(post.turn_id)
        place = _place(post.conversation)
        try:
            reference = await (live.post(post) if live else self._writer(post).finish(post))
        except SlackRefusedError as error:
            if error.code not in _NOT_THERE or not post.author_id:
                raise
            place = self._direct.get(post.key) or await self._post_directly(post, error)
            reference = place.thread
        await self._upload_missing(post, reference, place=place)
        return reference

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its thread. Raises AdapterError where Slack does not show it."""
        live = self._live.get(post.turn_id)
        if live is not None and live.answer.has(post.part):
            return None  # its message is known: posting it again changes that one
        own = await self._own_messages(_place(post.conversation), message_ts(post.in_reply_to))
        found = next((message for message in own if message.kind == "post" and message.key == post.key), None)
        if found is None:
            return None
        await self._upload_missing(post, found.ts, place=_place(post.conversation), own=own)
        return Found(reference=found.ts)

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file that somebody sent. Raises AdapterError."""
        file_id, _, url = file.reference.partition(" ")
        if not url and file_id:  # of another workspace: https://docs.slack.dev/apis/slack-connect/
            answer = await self._web.call("files.info", team=conversation.space, may_repeat=True, file=file_id)
            url = str(answer["file"].get("url_private_download") or answer["file"].get("url_private") or "")
        if not url:
            raise AdapterError("Slack does not say where the file is. Send it again.", is_permanent=True)
        return await download(self._web, url, team=conversation.space, max_bytes=max_bytes, mime_type=file.mime_type)

    async def drain(self) -> None:
        """Give what is still to be shown of ended turns a moment, then stop showing; nothing can be posted after."""
        self._live.close()
        await self._background.drain(timeout_s=DRAIN_S)

    # --- their parts -------------------------------------------------------------------------------------------

    def _open_live(self, view: TurnView) -> LiveTurn:
        return open_live(
            view,
            slack=self._web,
            place=_place(view.conversation),
            find_own=self._own_messages,
            refusals=self._refusals,
            pace=self._options.pace,
            trace_level=self._options.trace,
            on_running=self._remove_sign,
        )

    def _writer(self, post: Post) -> AnswerWriter:
        """Return a writer for a post of which nothing was shown before."""
        place = _place(post.conversation)
        return AnswerWriter(
            slack=self._web,
            place=place,
            turn_id=post.turn_id,
            author=post.author_id,
            refusals=self._refusals,
            search=lambda: self._own_messages(place, message_ts(post.in_reply_to)),
            append_gap_s=self._options.pace.append_gap_s,
            edit_gap_s=self._options.pace.edit_gap_s,
            stream_life_s=self._options.pace.stream_life_s,
        )

    async def _own_messages(self, place: Place, since: str) -> Sequence[OwnMessage]:
        bot_user = (await self._identities.of(place.team)).user
        return await find_own(self._web, place, bot_user=bot_user, since=since)

    async def _post_directly(self, post: Post, error: SlackRefusedError) -> Place:
        """Send an answer to the one who asked, because it cannot stand where it was asked for; return its thread."""
        team = post.conversation.space
        log.warning("answer_sent_directly", code=error.code, part=post.part)
        opened = await self._web.call("conversations.open", team=team, may_repeat=True, users=post.author_id)
        text = neutralize(post.text)
        if post.part == 0:
            why = f"_My answer to your message in <#{post.conversation.channel}> could not be posted there. {error}_"
            text = f"{why}\n\n{text}"
        channel = str(opened["channel"]["id"])
        posted = await self._web.call(
            "chat.postMessage",
            team=team,
            channel=channel,
            text=notification(text),
            # Without buttons: what is pressed here could not be told to belong to the other channel's answer.
            blocks=answer_blocks(text, turn_id=post.turn_id, is_last=False),
            metadata=post_mark(post),
            unfurl_links=False,
            unfurl_media=False,
        )
        place = Place(team=team, channel=channel, thread=str(posted["ts"]))
        self._direct.put(post.key, place)
        return place

    async def _upload_missing(
        self, post: Post, reference: str, *, place: Place, own: Sequence[OwnMessage] | None = None
    ) -> None:
        """Post the files that belong below the post, each once. Raises AdapterError where trying again can help.

        `own` is what the thread shows, if that was looked up.
        """
        if post.key in self._unsure_uploads and own is None:
            own = await self._own_messages_if_shown(place, since=message_ts(post.in_reply_to))
        # What stands above the post belongs to an answer before it.
        there = [name for message in own or () if message.ts > reference for name in message.file_names]
        for number, attachment in enumerate(_distinct(post.attachments)):
            if (post.key, number) in self._uploaded or file_name(attachment) in there:
                continue
            try:
                await upload(
                    self._web,
                    team=place.team,
                    channel=place.channel,
                    thread_ts=place.thread,
                    attachment=attachment,
                )
            except AdapterError as error:
                if not error.is_permanent:
                    self._unsure_uploads.put(post.key, None)
                    raise
                await self._say_not_uploaded(place, attachment, error)
            self._uploaded.put((post.key, number), None)
        self._unsure_uploads.pop(post.key)

    async def _own_messages_if_shown(self, place: Place, *, since: str) -> Sequence[OwnMessage]:
        try:
            return await self._own_messages(place, since)
        except AdapterError as error:
            if not error.is_permanent:
                raise
            log.warning("own_messages_not_found", error=str(error))
            return ()

    async def _say_not_uploaded(self, place: Place, attachment: Attachment, error: AdapterError) -> None:
        try:
            await self._web.call(
                "chat.postMessage",
                team=place.team,
                channel=place.channel,
                thread_ts=place.thread,
                text=notification(f"{file_name(attachment)} could not be posted. {error}"),
                metadata=notice_mark("file"),
            )
        except AdapterError as failure:
            if not failure.is_permanent:
                raise
            log.warning("file_neither_posted_nor_explained", error=str(failure))

    def _core(self) -> Receive:
        assert self._receive is not None, "nothing arrives before run"
        return self._receive

    def _ready_interactions(self) -> Interactions:
        assert self._interactions is not None, "nothing arrives before run"
        return self._interactions


def _place(conversation: ConversationKey) -> Place:
    return Place(team=conversation.space, channel=conversation.channel, thread=conversation.thread)


def _distinct(attachments: Sequence[Attachment]) -> Sequence[Attachment]:
    """Return the attachments under names that differ: by its name a file is found again after a crash."""
    names = [attachment.name for attachment in attachments]
    return [
        attachment if names.count(attachment.name) == 1 else replace(attachment, name=f"{number}-{attachment.name}")
        for number, attachment in enumerate(attachments, start=1)
    ]
