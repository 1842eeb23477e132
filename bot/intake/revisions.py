"""What people read where they changed or deleted a message."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.answers import Done, Ignored, Refused, Revised
from bot.ports.intake_store import Revision

_EDITED: Mapping[Revision, str] = {
    "started": "I am already working on an answer to the message as it was before the change. "
    "Send the change as a new message.",
    "ended": "The message was answered before it was changed. Send it as a new message to have it answered again.",
}
_WITHDRAWN: Mapping[Revision, str] = {
    "started": "I am already working on an answer to the deleted message. `stop` ends that.",
}


def of_edit(revision: Revision) -> Revised:
    """Return what became of the change of a text."""
    return _revised(revision, _EDITED.get(revision, ""))


def of_withdrawal(revision: Revision) -> Revised:
    """Return what became of the deletion of a message."""
    return _revised(revision, _WITHDRAWN.get(revision, ""))


def unchanged(reason: str) -> Refused:
    """Return why a message stays as it was; nothing where the reason was said a moment ago."""
    return Refused(notice=reason and f"The change was not accepted; the message stays as it was. {reason}")


def _revised(revision: Revision, notice: str) -> Revised:
    if notice:
        return Refused(notice=notice)
    return Ignored() if revision == "unknown" else Done()
