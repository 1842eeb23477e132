"""The ids under which tool servers know conversations: they reveal nothing, and nobody can work one out."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from bot.domain.errors import SettingsError
from bot.domain.events import ConversationKey
from bot.keeping.private import make_file

FILE_NAME = "conversation.key"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ConversationIds:
    """Ids made with a key; with an empty key they are the former ones, which follow from the conversation's address."""

    key: bytes = field(default=b"", repr=False)

    def of(self, conversation: ConversationKey) -> str:
        """Return the id that the conversation has with this key, always the same."""
        if not self.key:
            return conversation.opaque_id
        return hmac.digest(self.key, str(conversation).encode(), "sha256").hex()[:32]


def key_to_share(home: Path) -> str:
    """Return the key of the home for all processes on a database; where there is none, a new one.

    Raises:
        SettingsError: The home's key cannot be read, or is damaged.
    """
    file = home / FILE_NAME
    return open_conversation_ids(home).key.hex() if file.exists() else secrets.token_hex(_KEY_BYTES)


def shared_conversation_ids(key: str) -> ConversationIds:
    """Return the ids made with a key that processes share."""
    return ConversationIds(bytes.fromhex(key))


def open_conversation_ids(home: Path) -> ConversationIds:
    """Return the ids made with the key in the home; it is made there, for its owner only, where there is none.

    Raises:
        SettingsError: The key cannot be read or made, or is damaged.
    """
    file = home / FILE_NAME
    try:
        make_file(file, secrets.token_hex(_KEY_BYTES))
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read or made: {error.strerror}.") from error
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SettingsError(
            f"{file} is damaged. Put its copy back, or remove it: a new key is made then, and files that conversations "
            f"have saved are not found any more."
        )
    return ConversationIds(key)
