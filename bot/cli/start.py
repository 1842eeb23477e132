"""What every command does first: read the settings, and set the logs up."""

from __future__ import annotations

import sys
from argparse import Namespace

import structlog

from bot.cli.trust import folder_of, left_out
from bot.keeping.private import tighten
from bot.keeping.replacing import finish_replacing
from bot.observe.logs import configure_logs
from bot.settings import Settings, export_env_file, load_settings
from bot.text.known_values import known
from bot.text.terminal import visible

log = structlog.stdlib.get_logger(__name__)


def start(
    arguments: Namespace, *, logs_to_file: bool = False, tells_left_out: bool = True, needs_model: bool = True
) -> Settings:
    """Return the checked settings, with logs going to a file in the home folder or to standard error.

    The `.env` of a folder that was not trusted is left out, and standard error says so where `tells_left_out`.

    Raises:
        SettingsError: A setting is wrong, a model is only half set up where the command `needs_model`, or a restore was
            interrupted that cannot be brought to its end.
    """
    folder = folder_of(arguments)
    if tells_left_out and (note := left_out(folder)):
        print(f"toolbridge: {visible(note)}", file=sys.stderr)
    settings = load_settings(env_file=folder.env_file, model_provider=getattr(arguments, "model", None))
    export_env_file(folder.env_file)
    known.keep(start, settings.secrets, mode=settings.redact)  # as long as the process lives: its last line is a log
    if needs_model:
        _ = settings.provider  # raises where one is only half set up, before anything starts
        _require_secret_key(settings)
    finish_replacing(settings.toolbridge_home)
    problem = tighten(settings.toolbridge_home)
    file = settings.toolbridge_home / "logs" / "toolbridge.log" if logs_to_file else None
    configure_logs(log_format=settings.log_format, level=settings.log_level, file=file)
    if problem:
        log.warning("home_not_private", reason=problem)
    return settings


def _require_secret_key(settings: Settings) -> None:
    """Raise SettingsError where processes share a database, and no key is set that they can share too."""
    if settings.is_shared:
        from bot.stores.secret_key import secret_keys  # late: the prompt of a chat does without

        secret_keys(settings.secret_key, home=settings.toolbridge_home, is_local=False)
