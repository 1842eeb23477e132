"""What every command does first: read the settings, and set the logs up."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

import structlog

from bot.cli.settings_looks import Look, check_settings, problems_of
from bot.cli.trust import folder_of, left_out
from bot.keeping.private import tighten
from bot.keeping.replacing import finish_replacing
from bot.observe.logs import configure_logs
from bot.settings import Settings, export_env_file, load_settings
from bot.text.known_values import known
from bot.text.terminal import visible

log = structlog.stdlib.get_logger(__name__)


def start(
    arguments: Namespace,
    *,
    logs_to_file: bool = False,
    tells_left_out: bool = True,
    needs_model: bool = True,
    looks: Sequence[Look] = (),
    more_looks: Callable[[], Sequence[Look]] = tuple,
) -> Settings:
    """Return the checked settings, with logs going to a file in the home folder or to standard error.

    The `.env` of a folder that was not trusted is left out, and standard error says so where `tells_left_out`.
    `more_looks` take time: they run only where `looks` have found something, so that all of it is told. Otherwise the
    caller runs them.

    Raises:
        SettingsError: A setting is wrong, a model is only half set up where the command `needs_model`, `looks` find
            something (all that is wrong is told), or a restore was interrupted that cannot be brought to its end.
    """
    folder = folder_of(arguments)
    if tells_left_out and (note := left_out(folder)):
        print(f"toolbridge: {visible(note)}", file=sys.stderr)
    settings = load_settings(env_file=folder.env_file, model_provider=getattr(arguments, "model", None))
    export_env_file(folder.env_file)
    known.keep(start, settings.secrets, mode=settings.redact)  # as long as the process lives: its last line is a log
    wanted = [*(LOOKS_AT_MODEL if needs_model else ()), *looks]
    if problems_of(settings, wanted):  # before anything starts
        check_settings(settings, [*wanted, *more_looks()])
    finish_replacing(settings.toolbridge_home)
    problem = tighten(settings.toolbridge_home)
    file = settings.toolbridge_home / "logs" / "toolbridge.log" if logs_to_file else None
    configure_logs(log_format=settings.log_format, level=settings.log_level, file=file)
    if problem:
        log.warning("home_not_private", reason=problem)
    return settings


def _require_model(settings: Settings) -> None:
    """Raise SettingsError where one is only half set up, or several are."""
    _ = settings.provider


def _require_secret_key(settings: Settings) -> None:
    """Raise SettingsError where processes share a database, and no key is set that they can share too."""
    if settings.is_shared:
        from bot.stores.secret_key import secret_keys  # late: the prompt of a chat does without

        secret_keys(settings.secret_key, home=settings.toolbridge_home, is_local=False)


LOOKS_AT_MODEL: Sequence[Look] = (_require_model, _require_secret_key)  # what `needs_model` stands for
