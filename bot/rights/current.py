"""The current policy: which file it is in, and reading it again while turns run."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.domain.errors import SettingsError
from bot.rights.policy import FilePolicy
from bot.rights.reading import MAX_FILE_BYTES, read_policy
from bot.settings import Settings
from bot.text.counting import count

log = structlog.stdlib.get_logger(__name__)

FILE_NAME = "toolbridge.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What became of reading the file again; `detail` is for an operator."""

    is_new: bool
    detail: str


class CurrentPolicy:
    """Holds the policy that was read last. `find` returns the file that counts, None where there is none."""

    def __init__(self, find: Callable[[], Path | None], *, servers: Collection[str] | None = None) -> None:
        """Read the policy.

        Raises:
            SettingsError: The file cannot be read or is not valid: nothing may start without it.
        """
        self._find = find
        self._servers = servers
        self._policy = self._read(find())
        log.info("policy_read", file=self._policy.file, rules=len(self._policy.rules))

    def now(self) -> FilePolicy:
        """Return the current policy; ask for it again at every decision."""
        return self._policy

    def reload(self) -> Reloaded:
        """Read the file again. With a file that is gone or wrong the policy stays as it is."""
        try:
            file = self._find()
            if file is None and self._policy.file:
                raise SettingsError(f"{self._policy.file} is gone. Put it back, or start again without it.")
            self._policy = self._read(file)
        except SettingsError as error:
            return self._keep(str(error))
        log.info("policy_reloaded", file=self._policy.file, rules=len(self._policy.rules))
        return Reloaded(is_new=True, detail=describe_policy(self._policy))

    def _keep(self, problem: str) -> Reloaded:
        log.error("policy_kept", file=self._policy.file, problem=problem)
        return Reloaded(is_new=False, detail=f"The old policy is kept. {problem}")

    def _read(self, file: Path | None) -> FilePolicy:
        policy = FilePolicy.default() if file is None else load_policy(file, servers=self._servers)
        for warning in policy.warnings:
            log.warning("policy_warning", warning=str(warning))
        return policy


def policy_file(settings: Settings, *, folder: Path | None = None) -> Path | None:
    """Return TOOLBRIDGE_CONFIG, or else the toolbridge.toml in the folder, or else the one in the home folder.

    One that is there counts, whether it can be read or not; one that is named counts, whether it is there or not.
    """
    if settings.toolbridge_config is not None:
        return settings.toolbridge_config
    places = ((folder or Path()) / FILE_NAME, settings.toolbridge_home / FILE_NAME)
    return next((file for file in places if os.path.lexists(file)), None)


def open_policy(settings: Settings, *, servers: Collection[str] | None = None) -> CurrentPolicy:
    """Return the current policy for these settings. `servers` are the names of those configured, for warnings.

    Raises:
        SettingsError: The file cannot be read or is not valid.
    """
    return CurrentPolicy(lambda: policy_file(settings), servers=servers)


def policy_of(settings: Settings) -> FilePolicy:
    """Return the policy that counts now, for one look at it.

    Raises:
        SettingsError: The file cannot be read or is not valid.
    """
    file = policy_file(settings)
    return FilePolicy.default() if file is None else load_policy(file)


def load_policy(file: Path, *, servers: Collection[str] | None = None) -> FilePolicy:
    """Return the policy of a file.

    Raises:
        SettingsError: It cannot be read.
        PolicyFileError: It is not valid.
    """
    return read_policy(_content(file), file=str(file), servers=servers)


def _content(file: Path) -> bytes:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise SettingsError(f"{file} is no file, so it has no rules. Correct TOOLBRIDGE_CONFIG, or remove it.")
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SettingsError(
            f"{file} is not there, so no rule in it would hold. Put it there, or remove what leads to it: "
            f"TOOLBRIDGE_CONFIG or a link."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read ({error.strerror}), so no rule in it would hold. Make it readable."
        ) from None


def describe_policy(policy: FilePolicy) -> str:
    """Return the file and how much it says, as a phrase for an operator."""
    if not policy.file:
        return f"no {FILE_NAME}, so the defaults hold"
    parts = [(len(policy.rules), "rule"), (len(policy.groups.names), "group"), (len(policy.warnings), "warning")]
    counts = [count(number, noun) for number, noun in parts if number or noun == "rule"]
    return ", ".join([policy.file, *counts, *([] if policy.budgets.is_empty else ["budgets"])])
