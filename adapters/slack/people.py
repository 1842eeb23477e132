"""The names of Slack's users, and message text as people read it."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from cachetools import LRUCache

from adapters.shared.payloads import Payload, dict_of
from adapters.slack.api import SlackApi
from adapters.slack.errors import SlackRefusedError
from adapters.slack.payloads import first_text, text_at
from bot.domain.errors import AdapterError
from bot.ports.tasks import end_all

MAX_NAMES = 10_000
MAX_NAME_CHARS = 80
FRESH_S = 3_600.0
RETRY_S = 60.0  # after a failure
PATIENCE_S = 1.0
TOO_LATE = "Slack does not answer"

# https://docs.slack.dev/messaging/formatting-message-text#retrieving-messages: what Slack puts in angle
# brackets, and the three characters that it escapes.
_MARKUP = re.compile(r"<([^<>]+)>|&(amp|lt|gt);")
_USER = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")
_ESCAPED = {"amp": "&", "lt": "<", "gt": ">"}


def mentions(text: str) -> set[str]:
    """Return the ids of the users whom a message mentions."""
    return set(_USER.findall(text))


def with_names(text: str, names: Mapping[str, str], bot_user_id: str, *, keeps_ids: bool = False) -> str:
    """Return a message as people read it: without the bot's own mention; other mentions and links become words.

    With `keeps_ids`, the id follows each name, as tools may need it.
    """
    own = re.compile(rf"([ \t]*)<@{re.escape(bot_user_id)}(?:\|[^<>]*)?>([ \t]*)")
    if bot_user_id:
        text = own.sub(_gap, text)
    return _MARKUP.sub(lambda match: _readable(match, names, keeps_ids=keeps_ids), text)


def _gap(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    if start == 0 or end == len(text) or text[start - 1] == "\n" or text[end] == "\n":
        return ""
    return " " if match[2] or (match[1] and text[end].isalnum()) else ""


def _readable(match: re.Match[str], names: Mapping[str, str], *, keeps_ids: bool) -> str:
    inside, escaped = match.groups()
    if inside is None:
        return _ESCAPED[escaped]
    target, _, label = (_unescaped(part) for part in inside.partition("|"))
    match target[0] if target else "":
        case "@":
            return f"@{_name(names.get(target[1:]) or label, target[1:], keeps_ids=keeps_ids)}"
        case "#":
            return f"#{_name(label, target[1:], keeps_ids=keeps_ids)}"
        case "!":
            return _special(target[1:], label, keeps_ids=keeps_ids)
        case _:
            return _link(target, label) if ":" in target else match[0]


def _name(name: str, of: str, *, keeps_ids: bool) -> str:
    """Return the name, or the id `of` which it is where it is not known."""
    return f"{name} ({of})" if keeps_ids and name and name != of else name or of


def _special(command: str, label: str, *, keeps_ids: bool) -> str:
    name, *details = command.split("^")
    match name:
        case "date":
            return label
        case "subteam":
            return f"@{_name(label.removeprefix('@'), ''.join(details[:1]), keeps_ids=keeps_ids)}"
        case _:
            return label if label and details else f"@{name}"


def _link(target: str, label: str) -> str:
    shown = re.sub(r"^(mailto|tel):", "", target)
    if not label or label in (shown, re.sub(r"^https?://", "", target).removesuffix("/")):
        return shown
    return f"{label} ({shown})"


def _unescaped(text: str) -> str:
    return re.sub(r"&(amp|lt|gt);", lambda match: _ESCAPED[match[1]], text)


@dataclass(frozen=True, slots=True)
class Profile:
    """A user as far as Slack has said it; `problem` is why its last answer is not among that, as a phrase."""

    name: str
    until: float  # seconds of the clock
    home: str = ""  # the workspace that the user belongs to
    is_bot: bool | None = None  # None: Slack has not said it
    enterprise: str = ""  # the organization of that workspace
    is_guest: bool = False
    is_stranger: bool = False  # of another organization
    problem: str = ""
    asked_at: float = -math.inf  # of the last answer; seconds of the clock


_Key = tuple[str, str]  # (workspace that has the app, user)


class People:
    """The names of users, asked for once and remembered for an hour; leaving the context ends requests under way."""

    def __init__(
        self,
        api: SlackApi,
        *,
        max_names: int = MAX_NAMES,
        fresh_s: float = FRESH_S,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._fresh_s = fresh_s
        self._patience_s = patience_s
        self._now = now
        self._known: LRUCache[_Key, Profile] = LRUCache(max_names)
        self._met: LRUCache[_Key, Profile] = LRUCache(max_names)  # people whose messages bring their profile
        self._asking: dict[_Key, asyncio.Task[None]] = {}
        self._asked_at: dict[_Key, float] = {}  # of those, in seconds of the clock
        self._is_slow = False  # the last name did not come in time, and none has come since

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end_all(self._asking.values())

    def learn(self, team: str, message: Payload) -> None:
        """Take note of what a message says of its author: people of other organisations bring name and workspace.

        Slack may refuse to look them up: https://docs.slack.dev/apis/slack-connect
        """
        user, profile = text_at(message, "user"), dict_of(message.get("user_profile"))
        home = first_text(message, "user_team", "source_team") or text_at(profile, "team") or text_at(message, "team")
        name = _name_of({"profile": profile, "name": profile.get("name")})
        if user and (name or home):
            self._met[team, user] = Profile(name, self._now() + self._fresh_s, home, is_guest=_is_guest(profile))

    def meet(self, team: str, user: str, home: str) -> None:
        """Take note of the workspace that a press says its person belongs to."""
        met = self._met.get((team, user))
        if user and home and (met is None or met.home != home):
            self._met[team, user] = Profile(met.name if met else "", self._now() + self._fresh_s, home)

    async def profile(self, team: str, user_id: str, *, max_age_s: float, is_patient: bool = False) -> Profile:
        """Return the user as Slack's last answer has it, asked for again where that is older.

        Waits for Slack for a second; once it has been slow, only with `is_patient`. Never raises an AdapterError. What
        messages of the user say counts as well.
        """
        key = team, user_id
        known = self._known.get(key)
        if known is not None and not known.problem and self._now() - known.asked_at > max_age_s:
            self._known[key] = replace(known, until=self._now())
        known = await self._look_up(key, patience_s=0.0 if self._is_slow and not is_patient else self._patience_s)
        if known is None or self._now() - known.asked_at > max_age_s:
            known = replace(known or Profile(user_id, 0.0), problem=(known and known.problem) or TOO_LATE)
        met = self._met.get(key)
        return replace(known, home=known.home or met.home, is_guest=known.is_guest or met.is_guest) if met else known

    async def name(self, team: str, user_id: str) -> str:
        """Return what the user is called; where Slack takes more than a second, the last known name or the id.

        Never raises an AdapterError; a name that arrives later is used the next time. Once a name has taken too long,
        none is waited for until Slack answers again.
        """
        met = self._met.get((team, user_id))
        if met is not None and met.name:
            return met.name
        # Slack waits three seconds for its acknowledgement, and messages of one conversation wait for each other.
        known = await self._look_up((team, user_id), patience_s=0.0 if self._is_slow else self._patience_s)
        return known.name if known else user_id

    async def is_person(self, team: str, user_id: str) -> bool:
        """Return whether Slack says within a second that the user is no bot; never raises an AdapterError.

        Of several who ask about one user, the second counts from the first.
        """
        known = await self._look_up((team, user_id), patience_s=self._patience_s)
        return known is not None and known.is_bot is False

    def home(self, team: str, user_id: str) -> str:
        """Return the workspace that the user belongs to, as far as it is known; otherwise the one that has the app."""
        met, known = self._met.get((team, user_id)), self._known.get((team, user_id))
        return (met and met.home) or (known and known.home) or team

    async def _look_up(self, key: _Key, *, patience_s: float) -> Profile | None:
        known = self._known.get(key)
        if known is None or known.until <= self._now():
            asking = self._ask(key)
            left_s = max(0.0, patience_s - (self._now() - self._asked_at[key]))  # patience is for all who ask together
            _, late = await asyncio.wait({asking}, timeout=left_s)
            self._is_slow = self._is_slow or bool(late)
        return self._known.get(key)

    def _ask(self, key: _Key) -> asyncio.Task[None]:
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._fetch(key), name="slack:user-name")
            self._asked_at[key] = self._now()
            task.add_done_callback(lambda _: self._forget_asking(key))
        return task

    def _forget_asking(self, key: _Key) -> None:
        del self._asking[key], self._asked_at[key]

    async def _fetch(self, key: _Key) -> None:
        team, user_id = key
        before = self._known.get(key) or Profile(user_id, 0.0)
        try:
            answer = await self._api.call("users.info", team=team, may_repeat=True, user=user_id)
        except AdapterError as error:
            is_stranger = isinstance(error, SlackRefusedError) and error.code == "user_not_visible"
            self._known[key] = replace(
                before,
                until=self._now() + RETRY_S,
                problem=_reason(error),
                is_stranger=before.is_stranger or is_stranger,
            )
            return
        self._is_slow = False
        user = dict_of(answer.get("user"))
        self._known[key] = Profile(
            _name_of(user) or user_id,
            self._now() + self._fresh_s,
            home=text_at(user, "team_id"),
            is_bot=user.get("is_bot") is not False,
            enterprise=text_at(dict_of(user.get("enterprise_user")), "enterprise_id"),
            is_guest=_is_guest(user),
            is_stranger=user.get("is_stranger") is True,
            asked_at=self._now(),
        )


def _is_guest(user: Payload) -> bool:
    """https://docs.slack.dev/reference/objects/user-object: multi-channel and single-channel guests."""
    return any(user.get(name) is True for name in ("is_restricted", "is_ultra_restricted"))


def _reason(error: AdapterError) -> str:
    if isinstance(error, SlackRefusedError) and error.needed:
        return f"the app lacks Slack's permission {error.needed}"
    return f"Slack does not say it ({error.code})" if isinstance(error, SlackRefusedError) else TOO_LATE


def _name_of(user: Payload) -> str:
    """Return the name that Slack shows: https://docs.slack.dev/reference/objects/user-object."""
    profile = dict_of(user.get("profile"))
    candidates = (profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name"))
    return next((one_line for name in candidates if (one_line := " ".join(str(name or "").split()))), "")[
        :MAX_NAME_CHARS
    ]
