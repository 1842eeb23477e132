"""Settings: read once from the environment and `.env`, checked, frozen and passed down."""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import unquote

import platformdirs
from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.domain.errors import SettingsError
from bot.text.database_urls import is_postgres, read_database_url, secrets_of_database_url, sqlite_path
from bot.text.secret_values import of_named, of_url

ModelProvider = Literal["azure", "openai", "rehearsal"]

# Names with these prefixes are ours: an unknown one is a typo.
PREFIXES = ("TOOLBRIDGE_", "AZURE_OPENAI_", "OPENAI_", "SLACK_", "DISCORD_", "MCP_", "MODEL_", "DATABASE_")
# Read by the openai SDK, azure-identity, the MCP SDK or other programs on the same machine.
FOREIGN = frozenset(
    {
        "AZURE_OPENAI_AD_TOKEN",
        "OPENAI_ADMIN_KEY",
        "OPENAI_API_TYPE",
        "OPENAI_API_VERSION",
        "OPENAI_CUSTOM_HEADERS",
        "OPENAI_LOG",
        "OPENAI_ORG_ID",
        "OPENAI_ORGANIZATION",
        "OPENAI_PROJECT_ID",
        "OPENAI_WEBHOOK_SECRET",
    }
)
# Other programs use names like these too: in the environment, a similar name is most likely theirs.
COMMON = frozenset(
    {
        "DATABASE_URL",
        "HTTP_HOST",
        "HTTP_PORT",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "METRICS",
        "METRICS_TOKEN",
        "PROCESS_NAME",
        "REDACT",
        "RETENTION_DAYS",
        "TRACE",
        "TRUSTED_PROXIES",
    }
)
# OpenTelemetry's SDK reads many more of these than are settings of ours.
FOREIGN_PREFIX = "OTEL_"
# Other programs have names with our prefixes in the environment, too; the last ones are Kubernetes' for a service
# called `database`: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_THEIRS = re.compile(
    r"DATABASE_(?:URI|DSN|HOST|PORT|NAME|USER|USERNAME|PASS|PASSWORD|ENGINE|DRIVER|ADAPTER|TYPE|SSL|PORT_\w+|SERVICE_\w+)"
)


class Settings(BaseSettings):
    """Everything an operator can set; field names are the environment's names in lower case."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, env_file_encoding="utf-8"
    )

    azure_openai_endpoint: str | None = None
    azure_openai_api_key: SecretStr | None = None  # unset: Entra ID
    azure_openai_deployment: str | None = None
    azure_openai_api_version: str | None = None  # unset: the /openai/v1/ endpoint, which needs none

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = Field(default=None, repr=False)  # may carry a password, as every URL here
    openai_model: str | None = None

    model_provider: ModelProvider | None = None  # needed only where several are set
    model_api: Literal["chat", "responses"] = "chat"
    model_context_tokens: int = Field(default=128_000, ge=2_000)
    model_reasoning_effort: str | None = None
    model_max_output_tokens: int | None = Field(default=None, ge=1)  # unset: the endpoint's own limit
    model_extra_body: str | None = Field(default=None, repr=False)  # a JSON object, sent with every request
    model_headers: SecretStr | None = None  # likewise
    model_requests_per_minute: int | None = Field(default=None, ge=1)  # unset: learnt from the endpoint's headers
    model_tokens_per_minute: int | None = Field(default=None, ge=1)  # likewise
    # Dollars for a million tokens, of models that the price list does not have.
    model_price_input_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    model_price_cached_input_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)  # unset: as other input
    model_price_output_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    system_prompt_file: Path | None = None

    slack_bot_token: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_client_id: str | None = None  # for several workspaces: they install the app themselves
    slack_client_secret: SecretStr | None = None
    slack_command_prefix: str = Field(default="", max_length=24, pattern=r"^[a-z0-9_-]*$")
    slack_backfill_minutes: float = Field(default=15.0, ge=0)  # older missed messages stay unanswered
    slack_api_url: str = "https://slack.com/api/"

    discord_bot_token: SecretStr | None = None
    discord_allow_dms: bool = False
    discord_message_content: bool = True  # the privileged intent: with it, follow-ups in threads need no mention
    discord_dev_guild: int | None = None  # commands appear there at once
    discord_backfill_minutes: float = Field(default=15.0, ge=0)  # as Slack's
    discord_api_url: str = "https://discord.com/api/v10"
    discord_gateway_url: str = "wss://gateway.discord.gg/"

    mcp_server_url: str | None = Field(default=None, repr=False)
    mcp_config: Path | None = None

    toolbridge_home: Path = Field(default_factory=lambda: platformdirs.user_data_path("toolbridge", appauthor=False))
    database_url: str | None = Field(default=None, repr=False)  # unset: toolbridge.db in the home folder
    database_auth: Literal["password", "entra"] = "password"  # entra: a token of Entra ID is the password
    database_pool_max: int = Field(default=6, ge=2, le=6)  # connections of one process
    database_schema: str = "toolbridge"
    database_listen_url: str | None = Field(default=None, repr=False)  # past PgBouncer, which passes no NOTIFY on
    toolbridge_config: Path | None = None
    toolbridge_secret_key: SecretStr | None = None  # Fernet keys, separated by commas; unset: a file of the home folder
    retention_days: int | None = Field(default=None, ge=0, le=36_500)  # 0 or unset: for ever

    process_name: str | None = Field(default=None, max_length=100)  # unset: host:pid
    drain_s: float = Field(default=25.0, ge=0, allow_inf_nan=False)  # for answers in progress, once `run` is to end

    weather_api_url: str | None = None
    geocoding_api_url: str | None = None

    max_conversation_length: int = Field(default=50, ge=2, le=2_000)  # messages; stores read a few thousand at most
    max_input_chars: int = Field(default=10_000, ge=1)
    max_file_mb: float = Field(default=10.0, ge=0)  # of one file that is sent along; MB are 1,000,000 bytes
    max_tool_rounds: int = Field(default=10, ge=1)
    turn_timeout_s: float = Field(default=300.0, gt=0)
    requests_per_minute: int = Field(default=60, ge=1)

    follow_ups: Literal["always", "mention"] = "always"  # whether they need a mention in threads
    allowed_apps: str = ""  # bots, apps and workflows that may ask by a mention: slack:TEAM:ID, discord:ID
    max_thread_messages: int = Field(default=50, ge=0, le=200)  # read with a question in a thread

    trace: Literal["summary", "full", "off"] = "summary"
    redact: Literal["on", "trace", "off"] = "on"

    http_host: str = "127.0.0.1"
    http_port: int | None = Field(default=8080, ge=0, le=65535)  # None: `off`
    trusted_proxies: str = ""  # addresses and networks whose X-Forwarded-For counts
    metrics: bool = False  # /metrics, for Prometheus
    metrics_token: SecretStr | None = None  # what scrapes have to show, wherever the listener is not loopback only
    otel_exporter_otlp_endpoint: str | None = Field(default=None, repr=False)  # unset: no traces
    otel_exporter_otlp_headers: SecretStr | None = None  # name=value, separated by commas
    # Whether traces have what was said; "true" and what the conventions' own libraries take.
    otel_instrumentation_genai_capture_message_content: str = Field(default="false")
    log_format: Literal["json", "console"] = "console"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("log_level", mode="before")
    @classmethod
    def _accept_any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator(
        "azure_openai_api_key",
        "openai_api_key",
        "slack_bot_token",
        "slack_app_token",
        "slack_signing_secret",
        "slack_client_secret",
        "discord_bot_token",
        "metrics_token",
    )
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse what no HTTP header can carry, without showing it."""
        if value is None:
            return None
        secret = value.get_secret_value().strip()
        if wrong := next((char for char in secret if not "!" <= char <= "~"), None):
            raise ValueError(
                f"it contains {_called(wrong)}, which no key or token has. Copy it again, without quotation marks "
                f"around it"
            )
        return SecretStr(secret)

    @field_validator("slack_bot_token", "slack_app_token")
    @classmethod
    def _check_kind_of_token(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse a token of another kind: https://docs.slack.dev/authentication/tokens"""
        if value is None:
            return None
        wanted = "xoxb-" if info.field_name == "slack_bot_token" else "xapp-"
        given = next((kind for kind in _SLACK_TOKENS if value.get_secret_value().startswith(kind)), wanted)
        if given != wanted:
            raise ValueError(
                f"it is {_SLACK_TOKENS[given]}, which begins with {given}; wanted is {_SLACK_TOKENS[wanted]}, which "
                f"begins with {wanted}. SLACK_BOT_TOKEN and SLACK_APP_TOKEN may be swapped"
            )
        return value

    @field_validator("database_url", "database_listen_url")
    @classmethod
    def _check_database_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Refuse a URL that libpq would read in another way than meant: its errors would show parts of a password."""
        if value is None:
            return None
        value = value.strip()
        if is_postgres(value) or info.field_name == "database_listen_url":
            read_database_url(value)
        elif sqlite_path(value) is None:
            raise ValueError("write postgresql://user:password@host:5432/database, or sqlite:///path/to/file.db")
        return value

    @field_validator("database_schema")
    @classmethod
    def _check_schema(cls, value: str) -> str:
        # https://www.postgresql.org/docs/current/sql-createschema.html: names that begin with pg_ are the system's
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,54}", value) or value.startswith("pg_"):
            raise ValueError(
                "write lower-case letters, digits and underscores, at most 55; a letter first, and not pg_ in front"
            )
        return value

    @field_validator("process_name")
    @classmethod
    def _check_process_name(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("it has a character that cannot be shown")
        return value

    @field_validator("allowed_apps")
    @classmethod
    def _check_apps(cls, value: str) -> str:
        for app in _listed(value):
            if not _APP.fullmatch(app):
                raise ValueError(f"{app} is no app: write slack:TEAM:ID or discord:ID, separated by commas")
        return value

    @field_validator("http_port", mode="before")
    @classmethod
    def _read_port(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = value.strip().lower()
        if text != "off" and not re.fullmatch(r"\d{1,5}", text):
            raise ValueError("write a port from 0 to 65535, or off")
        return None if text == "off" else text

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        for item in _listed(value):
            try:
                ip_network(item)
            except ValueError:
                raise ValueError(
                    f"{item} is neither an address nor a network: write 10.0.0.5 or 10.0.0.0/8, separated by commas"
                ) from None
        return value

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _check_otlp(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/\s]+[^\s?#]*", value.strip()):
            raise ValueError("write the collector's address for HTTP, such as http://collector:4318")
        return value and value.strip()

    @field_validator("otel_instrumentation_genai_capture_message_content")
    @classmethod
    def _check_capture(cls, value: str) -> str:
        if value.strip().lower() not in _CAPTURES | _CAPTURES_NOT:
            raise ValueError("write true or false")
        return value.strip().lower()

    @field_validator("model_extra_body")
    @classmethod
    def _check_extra_body(cls, value: str | None) -> str | None:
        if taken := sorted(_OWN_PARAMETERS.intersection(_json_object(value or "{}"))):
            raise ValueError(f"the bot sets {', '.join(taken)} itself: leave it out")
        return value

    @field_validator("model_headers")
    @classmethod
    def _check_headers(cls, value: SecretStr | None) -> SecretStr | None:
        for name, text in _json_object(value.get_secret_value() if value else "{}").items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError("a name is no header: write letters, digits and hyphens")
            if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
                raise ValueError(f"the value of {name} is no text of printable ASCII characters in quotes")
        return value

    @field_validator("system_prompt_file", "mcp_config", "toolbridge_home", "toolbridge_config")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @property
    def apps(self) -> frozenset[str]:
        """The apps of ALLOWED_APPS, in the notation of rules."""
        return frozenset(_listed(self.allowed_apps))

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The addresses and networks of TRUSTED_PROXIES."""
        return tuple(map(ip_network, _listed(self.trusted_proxies)))

    @property
    def is_local_only(self) -> bool:
        """Whether only this machine can reach the HTTP listener."""
        try:
            return ip_address(self.http_host).is_loopback
        except ValueError:
            return self.http_host.lower() == "localhost"

    def check_metrics(self) -> None:
        """Raise SettingsError where METRICS is on, and nobody could read them or everybody could."""
        if not self.metrics:
            return
        if self.http_port is None:
            raise SettingsError(
                "METRICS=true serves /metrics on the HTTP listener, and HTTP_PORT=off switches that off. Set HTTP_PORT "
                "to a port, or unset METRICS."
            )
        if self.metrics_token is None and not (self.is_local_only and not self.proxies):
            raise SettingsError(
                "METRICS=true shows everybody who reaches the HTTP listener how much the bot is used, and other "
                "machines reach it (HTTP_HOST, TRUSTED_PROXIES). Set METRICS_TOKEN to a long random text and give it "
                "to Prometheus as its bearer token, or set HTTP_HOST=127.0.0.1 and no proxies."
            )

    @property
    def traces_url(self) -> str:
        """Where traces go, with the path; empty where they are off.

        Raises:
            SettingsError: The standard variables ask for another protocol than the exporter's.
        """
        signal = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
        base = self.otel_exporter_otlp_endpoint
        is_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        if is_off or os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none" or not (signal or base):
            return ""
        name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
        name = name if os.environ.get(name) else "OTEL_EXPORTER_OTLP_PROTOCOL"
        if (protocol := os.environ.get(name, "").strip()) not in ("", "http/protobuf"):
            raise SettingsError(
                f"{name}={protocol}, and traces are sent as http/protobuf only. Unset it, and name the collector's "
                f"port for HTTP (4318) in OTEL_EXPORTER_OTLP_ENDPOINT."
            )
        # https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp
        return signal or f"{(base or '').rstrip('/')}/v1/traces"

    @property
    def traces_headers(self) -> dict[str, str]:
        """The headers of OTEL_EXPORTER_OTLP_HEADERS, whose values are percent-encoded there."""
        given = self.otel_exporter_otlp_headers.get_secret_value() if self.otel_exporter_otlp_headers else ""
        pairs = (item.partition("=") for item in given.split(",") if "=" in item)
        return {name.strip().lower(): unquote(value).strip() for name, _, value in pairs}

    @property
    def captures_messages(self) -> bool:
        """Whether traces have what was said."""
        return self.otel_instrumentation_genai_capture_message_content in _CAPTURES

    @property
    def extra_body(self) -> dict[str, Any]:
        """The parameters of MODEL_EXTRA_BODY; one that is null is left out of every request."""
        return _json_object(self.model_extra_body or "{}")

    @property
    def extra_headers(self) -> dict[str, str]:
        """The headers of MODEL_HEADERS."""
        return _json_object(self.model_headers.get_secret_value() if self.model_headers else "{}")

    @property
    def secrets(self) -> Iterator[str]:
        """The values that are not to show anywhere: tokens and keys, passwords in URLs, secret headers."""
        for name in type(self).model_fields:
            value: object = getattr(self, name)
            if isinstance(value, SecretStr) and name not in ("model_headers", "otel_exporter_otlp_headers"):
                yield from (part.strip() for part in value.get_secret_value().split(","))
                yield value.get_secret_value()
            elif isinstance(value, str) and is_postgres(value):
                yield from secrets_of_database_url(value)
            elif isinstance(value, str) and "://" in value:
                yield from (secret for url in value.split(",") for secret in of_url(url.strip()))
        yield from of_named(self.extra_headers)
        yield from self.traces_headers.values()
        yield from filter(None, [os.environ.get("PGPASSWORD")])  # which libpq reads by itself

    @property
    def kept_days(self) -> int | None:
        """How many days texts are kept; None: for ever."""
        return self.retention_days or None

    @property
    def process(self) -> str:
        """What this process is called where operators see it: PROCESS_NAME, or its host and number."""
        return self.process_name or f"{socket.gethostname()}:{os.getpid()}"

    @property
    def store_url(self) -> str:
        """The URL of the database: DATABASE_URL, or a file in the home folder."""
        url = self.database_url or "sqlite:///$TOOLBRIDGE_HOME/toolbridge.db"
        return url.replace("$TOOLBRIDGE_HOME", str(self.toolbridge_home))

    @property
    def secret_key(self) -> str:
        """The keys of TOOLBRIDGE_SECRET_KEY as they were written; empty where it is not set."""
        return self.toolbridge_secret_key.get_secret_value() if self.toolbridge_secret_key else ""

    @property
    def is_shared(self) -> bool:
        """Whether the database is one that processes on several machines share."""
        return self.store_url.partition("://")[0] in ("postgres", "postgresql")

    @property
    def provider(self) -> ModelProvider:
        """Which model answers. Raises SettingsError where the settings are incomplete or name several."""
        if self.model_provider is not None:
            chosen = self.model_provider
        else:
            named: list[ModelProvider] = []
            if self._any_set("azure_openai_"):
                named.append("azure")
            if self._any_set("openai_"):
                named.append("openai")
            if len(named) > 1:
                raise SettingsError(
                    "Both AZURE_OPENAI_* and OPENAI_* are set. Unset one group, or choose with "
                    "MODEL_PROVIDER=azure or MODEL_PROVIDER=openai."
                )
            chosen = named[0] if named else "rehearsal"
        self._require_complete(chosen)
        return chosen

    def _any_set(self, prefix: str) -> bool:
        return any(name.startswith(prefix) and getattr(self, name) is not None for name in type(self).model_fields)

    def _require_complete(self, provider: ModelProvider) -> None:
        if provider == "azure":
            needed = ("azure_openai_endpoint", "azure_openai_deployment")
            missing = [name.upper() for name in needed if getattr(self, name) is None]
        elif provider == "openai":
            missing = [] if self.openai_model else ["OPENAI_MODEL"]
            if self.openai_api_key is None and self.openai_base_url is None:
                missing.append("OPENAI_API_KEY (or OPENAI_BASE_URL for a server that needs no key)")
        else:
            missing = []
        if missing:
            raise SettingsError(
                f"The {provider} model is only half set up: set {' and '.join(missing)}, "
                f"or unset the rest of its settings to use the built-in rehearsal model."
            )


# "event_only" is among the others: the bot's traces have spans, and no events.
_CAPTURES = frozenset({"true", "1", "yes", "on", "span_only", "span_and_event"})
_CAPTURES_NOT = frozenset({"false", "0", "no", "off", "no_content", "event_only"})
_APP = re.compile(r"slack:[A-Z][A-Z0-9]*:[A-Z][A-Z0-9]*|discord:\d+")


_SLACK_TOKENS = {
    "xoxb-": "a bot token",
    "xapp-": "an app-level token",
    "xoxp-": "a user's token",
    "xoxe-": "a refresh token",
}


def _called(char: str) -> str:
    """Return what a character is called that is not to be shown with what surrounds it."""
    return f"the character {unicodedata.name(char, f'U+{ord(char):04X}')}"


_OWN_PARAMETERS = frozenset({"messages", "input", "instructions", "tools", "stream", "model", "store"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004  (pydantic reports only a ValueError)
            'it is no JSON object: write {"name": "value"}, in straight quotes'
        )
    return cast("dict[str, Any]", value)


def _listed(text: str) -> list[str]:
    return [item for item in re.split(r"[\s,]+", text) if item]


def load_settings(*, env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Return the checked settings: overrides win over the environment, that over `.env`, that over the defaults.

    Raises:
        SettingsError: A value is not valid, or a name looks like one of ours but is not.
    """
    names = [name for name in os.environ if not _THEIRS.fullmatch(name)]
    _refuse_misspelt(names, where="the environment", spared=COMMON)
    _refuse_misspelt(_names_in(env_file), where=str(env_file))
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(_env_file=env_file, **given)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
    except ValidationError as error:
        raise SettingsError(_describe(error)) from None  # the original holds the input values


def export_env_file(env_file: Path | None = Path(".env")) -> None:
    """Make what `.env` says beside our settings part of the environment: libraries and programs read it there.

    Proxies, certificates and Azure's identity are among it. The environment wins; secrets among our settings stay out
    of it, so that no program that the bot starts gets them.
    """
    if env_file is None or not env_file.is_file():
        return
    ours = {name.upper() for name in Settings.model_fields}
    for name, value in dotenv_values(env_file, encoding="utf-8").items():
        if value and name not in ours:
            os.environ.setdefault(name, value)


def _names_in(env_file: Path | None) -> Iterable[str]:
    if env_file is None or not env_file.is_file():
        return ()
    try:
        return dotenv_values(env_file, encoding="utf-8").keys()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{env_file} cannot be read ({type(error).__name__}). Save it as UTF-8 text.") from error


def _refuse_misspelt(names: Iterable[str], *, where: str, spared: frozenset[str] = frozenset()) -> None:
    known = [name.upper() for name in Settings.model_fields]
    for name in names:
        if name in known or name in FOREIGN or name.startswith(FOREIGN_PREFIX):
            continue
        is_ours = name.startswith(PREFIXES)
        candidates = [name for name in known if name not in spared]
        near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.7 if is_ours else 0.88)
        if near or is_ours:
            hint = f"Did you mean {near[0]}?" if near else "It is not a setting: see .env.example for all names."
            raise SettingsError(f"{name} is set in {where}. {hint} Correct or remove it.")


def _describe(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part) for part in item['loc']).upper()}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    ]
    return "Settings are not valid. " + "; ".join(lines) + ". See .env.example."
