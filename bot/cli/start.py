"""What every command does first: read the settings, and set the logs up."""

from __future__ import annotations

from argparse import Namespace

from bot.observe.logs import configure_logs
from bot.settings import Settings, export_env_file, load_settings


def start(arguments: Namespace, *, logs_to_file: bool = False) -> Settings:
    """Return the checked settings, with logs going to a file in the home folder or to standard error.

    Raises:
        SettingsError: A setting is wrong, or a model is only half set up.
    """
    settings = load_settings(model_provider=getattr(arguments, "model", None))
    export_env_file()
    _ = settings.provider  # raises where a model is only half set up, before anything starts
    file = settings.toolbridge_home / "logs" / "toolbridge.log" if logs_to_file else None
    configure_logs(log_format=settings.log_format, level=settings.log_level, file=file)
    return settings
