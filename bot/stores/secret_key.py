"""The keys that encrypt stored tokens, from the setting or from a file in the home folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bot.domain.errors import SettingsError, StoreError
from bot.keeping.private import make_file

FILE_NAME = "secret-key"
_MAKE = "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'` makes one."


class SecretKeys:
    """Encrypts with the first key, decrypts with any. Nothing is read or made before it is needed.

    Fernet keys: https://cryptography.io/en/latest/fernet/
    """

    def __init__(self, keys: Callable[[], Sequence[str]]) -> None:
        self._keys = keys

    def encrypt(self, text: str) -> str:
        """Return the text encrypted with the first key. Raises StoreError where there is none and none can be made."""
        return self._all.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str | None:
        """Return the text; None where no key reads it."""
        try:
            return self._all.decrypt(encrypted.encode()).decode()
        except (InvalidToken, ValueError):
            return None

    def rotate(self, encrypted: str) -> str | None:
        """Return it encrypted with the first key, unchanged where it was already; None where no key reads it."""
        try:
            self._first.decrypt(encrypted.encode())
        except (InvalidToken, ValueError):
            text = self.decrypt(encrypted)
            return None if text is None else self.encrypt(text)
        return encrypted

    @cached_property
    def _fernets(self) -> Sequence[Fernet]:
        return [Fernet(key) for key in self._keys()]

    @property
    def _first(self) -> Fernet:
        return self._fernets[0]

    @property
    def _all(self) -> MultiFernet:
        return MultiFernet(self._fernets)


def secret_keys(said: str, *, home: Path, is_local: bool) -> SecretKeys:
    """Return the keys of TOOLBRIDGE_SECRET_KEY; without it, that of the home's file, which is made once it is needed.

    Raises:
        SettingsError: A key is not valid, or none is set where the database is shared (not `is_local`).
    """
    file = home / FILE_NAME
    keys = [key for part in said.split(",") if (key := part.strip())]
    for number, key in enumerate(keys, start=1):
        _check(key, where=f"Key {number} of TOOLBRIDGE_SECRET_KEY")
    if keys:
        return SecretKeys(lambda: [*keys, *([_of_file(file)] if file.exists() else [])])  # what it wrote stays readable
    if not is_local:
        raise SettingsError(
            f"TOOLBRIDGE_SECRET_KEY is not set. A database that processes share needs it: tokens are encrypted. {_MAKE}"
        )
    return SecretKeys(lambda: [_of_file(file)])


def _check(key: str, *, where: str) -> None:
    try:
        Fernet(key)
    except ValueError:
        raise SettingsError(f"{where} is no Fernet key (32 bytes in URL-safe base64). {_MAKE}") from None


def _of_file(path: Path) -> str:
    try:
        make_file(path, f"{Fernet.generate_key().decode()}\n")
        key = path.read_text(encoding="ascii").strip()
        _check(key, where=f"The file {path}")
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        why = str(error) if isinstance(error, SettingsError) else f"{path} cannot be used ({type(error).__name__})."
        raise StoreError(f"{why} Correct it, or set TOOLBRIDGE_SECRET_KEY.") from error
    return key
