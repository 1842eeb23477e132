"""Settings: read once from the environment and `.env`, checked, frozen and passed down."""

from bot.settings.model import ModelProvider
from bot.settings.names import FOREIGN, PREFIXES
from bot.settings.reading import export_env_file, load_settings
from bot.settings.whole import Settings

__all__ = ["FOREIGN", "PREFIXES", "ModelProvider", "Settings", "export_env_file", "load_settings"]
