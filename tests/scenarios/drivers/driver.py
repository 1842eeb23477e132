"""What people can do with the bot on every platform, and what they see of it: the words of the shared scenarios.

A driver plays one platform's people at its loopback platform. It says in that platform's own terms what a scenario
says once: where a mention is needed, where the trace is, who sees a notice. The checks that differ from platform to
platform, because each draws the same thing in its own way, are the driver's as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bot.app import App
from bot.domain.events import ConversationKey
from bot.domain.messages import Message as StoredMessage
from bot.turns.limits import Patience
from tests.scenarios.drivers.asks import Asked, Person, Window
from tests.scenarios.model import Model

Kind = Literal["channel", "thread", "direct"]
Rating = Literal["good", "bad"]
PassOn = Callable[[], Awaitable[None]]
Door = Literal["place", "channel", "direct"]  # a conversation's own place, the rest of its channel, direct messages


class Message(Protocol):
    """A message as the loopback platform keeps it."""

    edits: int

    @property
    def shown(self) -> str:
        """What is read of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that a person sends."""

    name: str
    content: bytes
    content_type: str = "text/plain"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What another app posts by itself, as alerts are posted: the words are only in its attachment or embed."""

    title: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    footer: str = ""


Rows = Sequence[Sequence[str]]  # of a table; an empty text is an empty cell


@dataclass(frozen=True, kw_only=True)
class LongAnswer:
    """The size of an answer that needs several messages: words, a fence of so many lines, a table, words."""

    words_before: int
    lines: int
    rows: int
    row_chars: int
    words_after: int


class Question(Protocol):
    """A message of a person."""

    @property
    def is_waiting(self) -> bool:
        """Whether it shows the hourglass."""
        ...

    @property
    def is_unmarked(self) -> bool:
        """Whether it shows no sign at all."""
        ...

    async def edit(self, text: str, *, mention: bool = False) -> None:
        """Change it; `mention` puts the bot's mention in front."""
        ...

    async def edit_table(self, rows: Rows) -> None:
        """Change only its table, as far as the platform has tables; the words stay as they are."""
        ...

    async def delete(self) -> None: ...


class Pages(Protocol):
    """An answer of several pages that only the asker sees."""

    @property
    def text(self) -> str:
        """The page that is shown."""
        ...

    @property
    def buttons(self) -> Sequence[str]:
        """The labels of its buttons, in their order."""
        ...

    async def turn(self, label: Literal["Next", "Previous"]) -> str:
        """Press the button; return the page that is shown then."""
        ...


class Place(Protocol):
    """Where a person talks with the bot; all that a terminal has of a conversation."""

    async def converse(self, text: str, *, tools: int = 0) -> tuple[str, str]:
        """Ask; return the answer and what is shown of so many ended tool calls, as both are read."""
        ...

    async def command(self, name: str, argument: str = "") -> str:
        """Return what a command answers."""
        ...


class Conversation(Place, Protocol):
    """One conversation with the bot on a chat platform."""

    @property
    def key(self) -> ConversationKey:
        """The core's name of it."""
        ...

    async def ask(self, text: str, *, by: Person = "ada", files: Sequence[File] = (), deliver: bool = True) -> Question:
        """Write what the bot answers, with a mention where the platform needs one.

        With `deliver=False` the bot does not get it, as when it is away.
        """
        ...

    async def say(self, text: str, *, by: Person = "ada", to: Person | None = None, deliver: bool = True) -> Question:
        """Write into it without a mention of the bot; where it is said `to` a person, it begins with theirs."""
        ...

    async def mention(
        self, text: str = "", *, by: Person = "ada", files: Sequence[File] = (), table: Rows = ()
    ) -> Question:
        """Write into it with the bot's mention in front; without a text it is only the mention.

        A `table` is pasted below the text as the platform lets people do it: where it has no tables, as text.
        """
        ...

    async def forward(
        self, words: str, text: str, *, of: Person, by: Person = "ada", files: Sequence[File] = ()
    ) -> Question:
        """Forward into it a message of a person from elsewhere, `words` with files, and ask `text` about it.

        The question is a comment to the forward or a reply to it, with a mention where the platform needs one.
        """
        ...

    async def alert(self, alert: Alert) -> None:
        """Have another app post an alert into it."""
        ...

    async def say_as_app(self, text: str, *, mention: bool = False) -> Question:
        """Have another app write into it; always the same one."""
        ...

    @property
    def messages(self) -> Sequence[Message]:
        """What the bot posted there for everyone, oldest first; traces only where they are beside the answers."""
        ...

    @property
    def answers(self) -> Sequence[Message]:
        """Its messages that are parts of finished answers, or what it says besides."""
        ...

    @property
    def written(self) -> Sequence[Message]:
        """All that is there as an answer or a piece of one, whether it is finished or not."""
        ...

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files that the bot put there; a name that came twice is an error."""
        ...

    @property
    def side_threads(self) -> int:
        """How many threads the bot began for traces; none where traces need none."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """The answers as they are read, a part each."""
        ...

    @property
    def growing(self) -> Sequence[Message]:
        """Its messages that are parts of answers that are not finished."""
        ...

    @property
    def traces(self) -> Sequence[Message]:
        """Its messages about tools, wherever the platform puts them."""
        ...

    def notices(self, question: Question, *, to: Person = "ada") -> Sequence[str]:
        """Return what the bot told this person about the question besides answering it."""
        ...

    async def answered(self, times: int = 1) -> Sequence[str]:
        """Wait until so many answers are whole and the work is over; return the texts of all of them."""
        ...

    async def at_work(self) -> None:
        """Wait until people can see that the bot works on an answer."""
        ...

    async def stop(self, way: str) -> None:
        """Stop the running answer in one of the driver's `ways_to_stop`."""
        ...

    async def details(self, *, by: Person = "ada", trace: int = 0) -> str:
        """Press Details at a trace; return what only that person sees then."""
        ...

    async def rate(self, answer: int, rating: Rating, *, by: Person = "ada") -> str:
        """Rate an answer; return what only that person is told."""
        ...

    async def asked(self, number: int = 0) -> Asked:
        """Wait until so many messages about calls that wait are there besides this one; return it."""
        ...

    async def stored(self) -> Sequence[StoredMessage]:
        """Return its messages in the store."""
        ...

    async def stored_answers(self) -> Sequence[str]:
        """Return the text of each stored answer: all that the model said in its turn."""
        ...

    async def check_whole(self, text: str) -> None:
        """Wait for the answer; check that just this text is there, once, drawn as it should be, and stored."""
        ...

    def check_answered(self, *questions: Question) -> None:
        """Check that each answer belongs to its question, where the platform shows that."""
        ...

    def check_parts(self, question: Question) -> None:
        """Check that each message of a long answer is whole in itself, and that they are one answer to the question."""
        ...


class Driver(Protocol):
    """A loopback platform with three people and a model; the bot lives in `home`, one life at a time."""

    name: str
    home: Path
    model: Model
    direct: Mapping[str, Any]  # options of a bot that answers direct messages
    long_answer: LongAnswer
    pings: str  # what would notify people if a person wrote it
    history_pages: int  # that /history has of the conversation of the shared scenario
    no_history: str  # what /history says where nothing was said
    usage_there: Sequence[str]  # what /usage adds about the conversation after one turn in it
    ways_to_stop: Sequence[str]
    presence_note: str  # the beginning of the note that makes the next life look for what it missed
    post_call: str  # what the platform calls the posting of a message
    edit_call: str  # and the changing of one
    begins_threads: bool  # whether traces are in threads of their own
    refusals: Mapping[str, str]  # codes with which an answer can be refused for good, each with a word of the reason
    ailments: Mapping[str, Sequence[str]]  # of a set-up, each with words of what the doctor says of it
    environment: Mapping[str, str]  # settings that point the real command at this platform

    def serving(
        self, *, options: Mapping[str, Any] | None = None, patience: Patience | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[Conversation]:
        """One life of the bot within the test's process, by default without tools; yields a first conversation."""
        ...

    def sharing(self, **settings: Any) -> AbstractAsyncContextManager[tuple[Conversation, PassOn]]:
        """Like `serving`; also yields what starts another process on the same database, which gets all that people do
        in the conversation from then on.
        """
        ...

    @property
    def app(self) -> App:
        """The application of the life that is being served."""
        ...

    async def open(self, kind: Kind = "channel", *, by: Person = "ada") -> Conversation:
        """Return a conversation where people meet, in a thread of its own, or in someone's direct messages."""
        ...

    @property
    def calls_to_others(self) -> Sequence[str]:
        """How a message begins that is said to someone else: to Ben, to a group, to everyone."""
        ...

    @property
    def app_ids(self) -> Sequence[str]:
        """The ways in which an operator may list the other app in ALLOWED_APPS."""
        ...

    async def begin(self, said: str | Alert, *, by: Person = "ada") -> Conversation:
        """Return a thread among people that begins with a person's words, or with an alert of another app.

        It is in the channel, and the bot is not asked in it yet.
        """
        ...

    def hide_threads(self) -> None:
        """Show the bot no messages from now on: what it asks the platform for is refused."""
        ...

    async def mutter(self, text: str, *, by: Person = "ada", deliver: bool = True) -> None:
        """Write into the channel what is not for the bot."""
        ...

    async def chatter(self, conversation: Conversation) -> None:
        """Have people and programs write much that is not for the bot, in the channel and in the conversation."""
        ...

    @property
    def in_channel(self) -> Sequence[Message]:
        """All that is to be seen in the channel itself, oldest first."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether a bot is connected with the platform."""
        ...

    @property
    def is_settled(self) -> bool:
        """Whether the bot has acknowledged all that it was sent; what it has not is sent again, to the next one."""
        ...

    @property
    def is_gone(self) -> bool:
        """Whether no bot has any connection with the platform."""
        ...

    def user_id(self, person: Person) -> str: ...

    async def until(self, condition: Callable[[], Any], timeout_s: float = ...) -> Any:
        """Return the condition's first true value."""
        ...

    async def command(self, name: str, argument: str = "", *, by: Person = "ada") -> str:
        """Run a slash command in the channel; return what only that person sees."""
        ...

    async def run_tool(self, tool: str, arguments: str = "", *, by: Person = "ada") -> Conversation:
        """Make a call by `/run`; return the conversation in which it is made."""
        ...

    async def run_form(self, tool: str, *, by: Person = "ada") -> Window:
        """Name the tool to `/run`; return the form that opens."""
        ...

    async def running(self, number: int = 0) -> Conversation:
        """Wait until so many calls by `/run` were begun besides this one; return the conversation in which it is."""
        ...

    def notation(self, person: Person) -> str:
        """Return the person's name in the notation of rules."""
        ...

    async def history(self) -> Pages:
        """Run /history in the channel about the conversation that was remembered."""
        ...

    async def remember(self, texts: Sequence[str]) -> None:
        """Put a conversation into the bot's memory before it starts: the bot repeated each of Ada's lines."""
        ...

    def private(self, person: Person) -> Sequence[str]:
        """Return what only this person sees in the channel, oldest first."""
        ...

    # --- time, and what goes wrong

    def advance(self, seconds: float) -> None:
        """Set the platform's clock forward; less than nothing, before anything was written: back."""
        ...

    async def noted(self) -> None:
        """Wait until the bot has noted all that it needs to catch up after a pause."""
        ...

    async def was_there(self, seconds_ago: float) -> None:
        """Make the next bot believe that one was there so long ago for the last time; none may run meanwhile."""
        ...

    def be_impatient(self) -> None:
        """Shorten the platform's own waits, where a scenario has to outlast them."""
        ...

    @property
    def calls(self) -> int:
        """How many calls of its web API the platform has seen."""
        ...

    @property
    def looks_back(self) -> int:
        """How many times the bot has looked for what it missed."""
        ...

    def deliver_next_again(self) -> None:
        """Deliver the next message more than once."""
        ...

    async def settled(self) -> None:
        """Wait until the platform has nothing more to deliver."""
        ...

    async def cut(self) -> None:
        """Break the bot's connections."""
        ...

    def release_held(self) -> None:
        """Answer the calls that are held, where their process is there to read it."""
        ...

    async def notice_death(self) -> None:
        """Notice that the bot's process is dead: its connections are gone, and no call of it is answered any more."""
        ...

    def hold_next(self, call: str, *, is_done: bool = True, behind: Door | None = None) -> None:
        """Leave the next call of this kind without an answer, whether it is done or not, until the bot is dead.

        With `behind`, the next one behind this door.
        """
        ...

    async def until_held(self) -> None:
        """Wait until a call is held."""
        ...

    async def crowd(self, count: int, *, channels: int) -> Sequence[Conversation]:
        """Hold the bot to the platform's rates from now on; return so many conversations.

        They share so many channels where a channel can have several.
        """
        ...

    def fail_downloads(self, fault: Literal["503", "drop"]) -> None:
        """Give the bot no file from now on."""
        ...

    @property
    def limited_posts(self) -> int:
        """How many posts the platform has refused with 429."""
        ...

    def fail_post(self, fault: str) -> None:
        """Spoil the next post of a message: "429", "global", "500", or lost "before" or "after" it was taken."""
        ...

    def close(self, refusal: str, *doors: Door) -> None:
        """Refuse from now on whatever is posted or changed behind these doors, with one of the `refusals`.

        What is already there can still be deleted. A platform on which only the content of an answer is refused refuses
        only that: a sentence of the bot's own passes.
        """
        ...

    def close_for_posts(self, refusal: str) -> None:
        """Refuse new messages in the conversation's place, and no change of those that are there without one."""
        ...

    def refuse_files(self) -> str:
        """Refuse from now on each file that the bot posts, for good; return a word of the reason."""
        ...

    def fail_with(self, status: int, what: Literal["posts", "files"]) -> None:
        """Answer from now on with an HTTP error, in no form of the platform's, to each post, or to those with files."""
        ...

    def fail_place(self, status: int) -> None:
        """Answer so to whatever is posted or changed in the conversation's place."""
        ...

    def heal(self) -> None:
        """Take everything again."""
        ...

    def direct_messages(self, person: Person) -> Sequence[str]:
        """Return what the bot sent this person directly, oldest first, as it is read."""
        ...

    def sentences(self, person: Person) -> Sequence[str]:
        """Return all that this person sees of the bot outside of direct messages, in the channel and its threads."""
        ...

    async def check_nothing_lives(self) -> None:
        """Check that soon no message of the bot grows any more, or can be stopped."""
        ...

    def check_led_back(self, message: str) -> None:
        """Check that a direct message leads back to the place of the question."""
        ...

    @property
    def posts(self) -> int:
        """How many posts of messages the platform has seen."""
        ...

    @property
    def downloads(self) -> int:
        """How many files the bot has fetched."""
        ...

    @property
    def sent(self) -> str:
        """All that the bot has sent to the platform, in one text."""
        ...

    # --- the operator's side

    async def diagnose(self, ailment: str) -> str:
        """Return what the doctor finds wrong, with the cure, in a set-up that has this ailment."""
        ...

    # --- checks

    async def check_silence(self) -> None:
        """Check that the bot wrote nothing in the channel besides its conversations, and nothing in private."""
        ...

    async def check_nobody_is_notified(self, *answers: Message) -> None:
        """Check that these answers, which have the `pings` in them, show them and notify nobody."""
        ...

    def check_manners(self) -> None:
        """Check that whatever the bot sent calls nobody, shows no preview, and was known to the platform."""
        ...
