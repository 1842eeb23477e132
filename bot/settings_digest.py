"""A digest of the settings that all processes of one bot are to have the same."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from bot.settings import Settings

# What belongs to one process or its machine: paths, addresses, names, logs, the way to the database that they share.
_OWN = frozenset(
    {
        *("toolbridge_home", "database_url", "database_auth", "database_pool_max", "database_listen_url"),
        *("toolbridge_config", "toolbridge_secret_key", "process_name", "drain_s", "http_host", "http_port"),
        *("trusted_proxies", "metrics", "metrics_token", "log_format", "log_level", "log_content"),
        *("otel_exporter_otlp_endpoint", "otel_exporter_otlp_headers"),
        "otel_instrumentation_genai_capture_message_content",
    }
)
_FILES = ("system_prompt_file", "mcp_config")  # whose content counts, wherever they are


def settings_digest(settings: Settings) -> str:
    """Return 12 hexadecimal digits that differ where a setting does, or mcp.json, or the file of the system prompt.

    TOOLBRIDGE_SECRET_KEY is the key of the digest, so that nobody who reads it can try out what the secrets are.
    """
    key = settings.toolbridge_secret_key
    named = json.dumps(_values(settings), sort_keys=True).encode()
    return hmac.digest(key.get_secret_value().encode() if key else b"", named, hashlib.sha256).hex()[:12]


def _values(settings: Settings) -> Mapping[str, str]:
    names = type(settings).model_fields.keys() - _OWN
    values = {name: _text(getattr(settings, name)) for name in names - {*_FILES}}
    files = {"system_prompt_file": settings.system_prompt_file, "mcp_config": settings.mcp_config or Path("mcp.json")}
    return values | {name: _content(file) for name, file in files.items()}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _content(file: Path | None) -> str:
    try:
        return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:  # it is not there; where it has to be, nothing starts
        return ""
