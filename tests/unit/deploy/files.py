"""What is in deploy/, as the tests of it read it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from bot.settings import FOREIGN, PREFIXES, Settings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
GUIDE = ROOT / "docs" / "deploy.md"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
OURS = {name.upper() for name in Settings.model_fields}


def read_yaml(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))


def misspelt(names: Iterable[str]) -> list[str]:
    """Return those that the bot would refuse, as it refuses them in its environment."""
    return [name for name in names if name.startswith(PREFIXES) and name not in OURS and name not in FOREIGN]
