"""Writes docs/settings.md from the fields of `Settings`: `python -m docs.settings`, from the repository's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bot.settings import Settings

FILE = Path(__file__).with_name("settings.md")
# The headings, each above the first setting that it is about.
HEADINGS = {
    "azure_openai_endpoint": "Azure OpenAI",
    "openai_api_key": "OpenAI, or any server with the same API",
    "model_provider": "Model",
    "slack_bot_token": "Slack",
    "discord_bot_token": "Discord",
    "mcp_server_url": "Tools",
    "toolbridge_home": "Data",
    "process_name": "Processes",
    "weather_api_url": "Weather of the bundled server",
    "max_conversation_length": "Limits",
    "follow_ups": "Who is heard",
    "trace": "What is shown",
    "http_host": "HTTP and logs",
}
INTRODUCTION = """\
# Settings

Settings come from the environment and from `.env` in the working folder; the environment wins. A misspelt name is an
error. `.env.example` lists them all with their defaults. Whatever else `.env` names, such as `AZURE_CLIENT_ID`,
`HTTPS_PROXY`, `SSL_CERT_FILE` or `OPENAI_CUSTOM_HEADERS`, is set for the libraries that read it.
`toolbridge setup` writes those of [model and platforms](setup.md), and `toolbridge doctor` checks them.

What people may do is not a setting but a rule: [toolbridge.toml](rights.md). Tool servers are in [mcp.json](tools.md).

This page is written by `python -m docs.settings` from `bot/settings/`.
"""
TABLE = "| name | value | default | meaning |\n|---|---|---|---|\n"
KINDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    SecretStr: "secret",
}
_BOUNDS = ("ge", "gt", "le", "max_length")


def page() -> str:
    """Return the page that documents every setting."""
    return INTRODUCTION + "".join(_rows())


def _rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in HEADINGS:
            yield f"\n## {HEADINGS[name]}\n\n{TABLE}"
        cells = (f"`{name.upper()}`", _value(field), _default(field), field.description or "")
        yield "| " + " | ".join(cells) + " |\n"


def _value(field: FieldInfo) -> str:
    """Return what may be written, such as "whole number, 2 to 6"."""
    kind: Any = next(each for each in (*get_args(field.annotation), field.annotation) if each is not type(None))
    kind = field.annotation if get_origin(field.annotation) is Literal else kind
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    bounds = _bounds(field)
    return f"{KINDS[kind]}, {bounds}" if bounds else KINDS[kind]


def _bounds(field: FieldInfo) -> str:
    bounds = {key: getattr(each, key) for each in field.metadata for key in _BOUNDS if hasattr(each, key)}
    match bounds:
        case {"ge": least, "le": most}:
            return f"{least} to {most}"
        case {"ge": least}:
            return f"{least} or more"
        case {"gt": below}:
            return f"more than {below}"
        case {"max_length": most}:
            return f"up to {most} characters"
        case _:
            return ""


def _default(field: FieldInfo) -> str:
    """Return what holds where nothing is written; empty where the meaning says it."""
    value: object = None if field.default_factory else field.default
    match value:
        case None | "":
            return ""
        case bool():
            return f"`{value}`".lower()
        case float():
            return f"`{value:g}`"
        case _:
            return f"`{value}`"


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
