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
