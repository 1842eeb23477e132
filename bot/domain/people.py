"""Who acts: a person as a platform knows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A person on a platform; `space` is the workspace or server where they act, `name` is for people to read.

    Two actors are the same person on the same platform when `str()` of them is equal.
    """

    platform: str
    space: str
    id: str
    name: str = ""

    def __str__(self) -> str:
        """Return the notation of rules and logs: `slack:TEAM:USER`, `discord:USER`, `console:USER`.

        Only a Slack user id belongs to a workspace; elsewhere a person has one id everywhere.
        """
        scope = (self.space,) if self.platform == "slack" else ()
        return ":".join((self.platform, *scope, self.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the platform says of a person where they act, besides who they are; it came with the event.

    `outsider` is why they are one, as a phrase ("a guest of this workspace"), empty for everyone else. `problem` is
    why the platform could not say so, as a phrase. `roles` are role ids of the Discord server.
    """

    outsider: str = ""
    roles: tuple[str, ...] = ()
    is_moderator: bool = False  # the platform lets them manage the messages of others there
    problem: str = ""


UNKNOWN = Standing()  # the platform said nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks for something, with what the platform says of them, and the place where they ask."""

    actor: Actor
    place: str  # the notation of rules, as `ConversationKey.place` gives it
    standing: Standing = UNKNOWN
