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

from bot.domain.errors import SettingsError, settings_error
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
        "LOG_CONTENT",
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

    azure_openai_endpoint: str | None = Field(
        default=None,
        description="The resource of Azure OpenAI or Foundry, in any of Azure's clouds; a whole pasted URL will do.",
    )
    azure_openai_api_key: SecretStr | None = Field(
        default=None,
        description="Its key. Without one, Entra ID signs in (extra `azure`).",
    )
    azure_openai_deployment: str | None = Field(default=None, description="The name of the deployment.")
    azure_openai_api_version: str | None = Field(
        default=None,
        description="Only for the older, versioned API. Without it, the `/openai/v1/` endpoint is used.",
    )

    openai_api_key: SecretStr | None = Field(
        default=None,
        description="The key of OpenAI, or of a server with the same API; local servers often need none.",
    )
    openai_base_url: str | None = Field(  # may carry a password, as every URL here
        default=None,
        repr=False,
        description="The server's base URL, such as `http://127.0.0.1:11434/v1`. Without it, OpenAI's.",
    )
    openai_model: str | None = Field(default=None, description="The name of the model.")

    model_provider: ModelProvider | None = Field(
        default=None,
        description="Which model answers, if both groups above are set; `--model` does the same.",
    )
    model_api: Literal["chat", "responses"] = Field(
        default="chat",
        description=(
            "`chat` is Chat Completions, `responses` the Responses API, which newer reasoning models need for tools."
        ),
    )
    model_context_tokens: int = Field(
        default=128_000,
        ge=2_000,
        description="How many tokens the model can read; fewer where the endpoint says so.",
    )
    model_reasoning_effort: str | None = Field(
        default=None,
        description=(
            "`none`, `low`, `medium`, `high`, or what else the endpoint knows: passed on unchanged. Without it, it is "
            "not sent."
        ),
    )
    model_max_output_tokens: int | None = Field(
        default=None,
        ge=1,
        description="The most tokens of one answer. Without it, the endpoint's own limit holds.",
    )
    model_extra_body: str | None = Field(
        default=None,
        repr=False,
        description=(
            "A JSON object with parameters that go with every request; `null` leaves one of the bot's own parameters "
            "out."
        ),
    )
    model_headers: SecretStr | None = Field(
        default=None,
        description="A JSON object with headers that go with every request.",
    )
    model_requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description=(
            "The model's own limit, shared fairly between people. Without it, it is learnt from the endpoint's headers."
        ),
    )
    model_tokens_per_minute: int | None = Field(default=None, ge=1, description="The same for tokens.")
    model_price_input_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description=(
            "Dollars per million tokens, for a model that is not in the built-in price list; set input and output "
            "together."
        ),
    )
    model_price_cached_input_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="The same for cached input. Without it, it costs what other input costs.",
    )
    model_price_output_usd: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="The same for output.",
    )
    system_prompt_file: Path | None = Field(
        default=None,
        description="A text file that replaces the built-in system prompt.",
    )

    slack_bot_token: SecretStr | None = Field(
        default=None,
        description="The *Bot User OAuth Token* (`xoxb-...`) of one workspace or organization.",
    )
    slack_app_token: SecretStr | None = Field(
        default=None,
        description="The app-level token (`xapp-...`) for Socket Mode.",
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None,
        description="For [Slack over HTTP](slack.md#over-http), in place of the app token.",
    )
    slack_client_id: str | None = Field(
        default=None,
        description=(
            "In place of the bot token, for [several workspaces](slack.md#for-several-workspaces) that install the app"
            " themselves."
        ),
    )
    slack_client_secret: SecretStr | None = Field(default=None, description="Goes with `SLACK_CLIENT_ID`.")
    slack_command_prefix: str = Field(
        default="",
        max_length=24,
        pattern=r"^[a-z0-9_-]*$",
        description="Prefix of the slash commands, if `/tools` and the others are taken: `tb-` makes `/tb-tools`.",
    )
    slack_backfill_minutes: float = Field(
        default=15.0,
        ge=0,
        description="How old a message may be that arrived while the bot was away, and still be answered.",
    )
    slack_api_url: str = Field(default="https://slack.com/api/", description="The base URL of Slack's API.")

    discord_bot_token: SecretStr | None = Field(default=None, description="The bot's token.")
    discord_allow_dms: bool = Field(default=False, description="Whether the bot answers direct messages.")
    discord_message_content: bool = Field(
        default=True,
        description="Whether the app has the Message Content intent. Without it, follow-ups in threads need a mention.",
    )
    discord_dev_guild: int | None = Field(
        default=None,
        description="The ID of a server in which changed commands appear at once, for development.",
    )
    discord_backfill_minutes: float = Field(
        default=15.0,
        ge=0,
        description="How old a message may be that arrived while the bot was away, and still be answered.",
    )
    discord_api_url: str = Field(default="https://discord.com/api/v10", description="The base URL of Discord's API.")
    discord_gateway_url: str = Field(default="wss://gateway.discord.gg/", description="The URL of Discord's gateway.")

    mcp_server_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "HTTP tool servers without an `mcp.json`. Several URLs, separated by commas, are replicas of one server."
        ),
    )
    mcp_config: Path | None = Field(
        default=None,
        description=(
            "The path of an [`mcp.json`](tools.md). Without it, `./mcp.json` if there is one, else the bundled server."
        ),
    )

    toolbridge_home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("toolbridge", appauthor=False),
        description="The folder of the database, the files and the logs. Without it, your user's data folder.",
    )
    database_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "`sqlite:///` and a path, or [`postgresql://`](scale.md) with any parameter of libpq (extra `postgres`). "
            "Without it, `toolbridge.db` in the home folder."
        ),
    )
    database_auth: Literal["password", "entra"] = Field(
        default="password",
        description="Only for PostgreSQL: with `entra`, tokens of Entra ID are the password (extra `azure`).",
    )
    database_pool_max: int = Field(
        default=6,
        ge=2,
        le=6,
        description="How many connections to PostgreSQL one process opens at most.",
    )
    database_schema: str = Field(default="toolbridge", description="The schema in PostgreSQL that holds the tables.")
    database_listen_url: str | None = Field(
        default=None,
        repr=False,
        description=(
            "The same database past PgBouncer, which passes no notifications on. Set it if `DATABASE_URL` leads to "
            "PgBouncer."
        ),
    )
    toolbridge_config: Path | None = Field(
        default=None,
        description=(
            "The path of [`toolbridge.toml`](rights.md), which says who may run what. Without it, `./toolbridge.toml` "
            "if there is one, else the one in the home folder."
        ),
    )
    toolbridge_secret_key: SecretStr | None = Field(
        default=None,
        description=(
            "[Fernet keys](data.md#tokens), separated by commas: the first encrypts stored tokens, all decrypt them. "
            "Without it, one is made in the home folder when it is needed; with PostgreSQL it has to be set."
        ),
    )
    retention_days: int | None = Field(
        default=None,
        ge=0,
        le=36_500,
        description="How many days questions, answers, tool results and files are kept. Unset or 0: for ever.",
    )

    process_name: str | None = Field(
        default=None,
        max_length=100,
        description="What the process is called in `toolbridge doctor`. Without it, host and process number.",
    )
    drain_s: float = Field(
        default=25.0,
        ge=0,
        allow_inf_nan=False,
        description="How many seconds answers in progress may take, once `toolbridge run` is asked to end.",
    )

    weather_api_url: str | None = Field(
        default=None,
        description="Where the bundled server asks for the weather. Without it, Open-Meteo.",
    )
    geocoding_api_url: str | None = Field(default=None, description="Where it looks places up. Without it, Open-Meteo.")

    max_conversation_length: int = Field(  # stores read a few thousand at most
        default=50,
        ge=2,
        le=2_000,
        description="How many messages of a conversation the model reads at most.",
    )
    max_input_chars: int = Field(default=10_000, ge=1, description="How many characters one message may have.")
    max_file_mb: float = Field(
        default=10.0,
        ge=0,
        description="How large one attached file may be, in megabytes of 1,000,000 bytes.",
    )
    max_tool_rounds: int = Field(
        default=10,
        ge=1,
        description="How many times one question may go from the model to tools and back.",
    )
    turn_timeout_s: float = Field(
        default=300.0,
        gt=0,
        description="How many seconds one question may take, without the time in which it waits for people.",
    )
    requests_per_minute: int = Field(
        default=60,
        ge=1,
        description="How many messages, and how many commands and buttons, one person may send in a minute.",
    )

    follow_ups: Literal["always", "mention"] = Field(
        default="always",
        description=(
            "In a thread where the bot takes part: `always` answers follow-ups without a mention, `mention` waits for "
            "one."
        ),
    )
    allowed_apps: str = Field(
        default="",
        description=(
            "Other bots, apps and workflows that may ask, by a mention only, separated by commas: `slack:TEAM:ID` with"
            " an app, bot or user ID, `discord:ID` with a user or application ID. `[access] apps` of the rules adds to"
            " them."
        ),
    )
    max_thread_messages: int = Field(
        default=50,
        ge=0,
        le=200,
        description="How many messages before a question in its thread are read with it. 0 reads none.",
    )

    trace: Literal["summary", "full", "off"] = Field(
        default="summary",
        description=(
            "How much of the tools is shown beside the answer; with `full`, *Details* has the model's thoughts too."
        ),
    )
    redact: Literal["on", "trace", "off"] = Field(
        default="on",
        description=(
            "Where [secrets](data.md#secrets-in-answers) are hidden: in answers, files and what is shown of tools "
            "(`on`), only in what is shown of tools (`trace`), or nowhere (`off`). The bot's own never show."
        ),
    )

    http_host: str = Field(
        default="127.0.0.1",
        description=(
            "The address on which [the HTTP listener](commands.md#the-http-listener) of `toolbridge run` listens."
        ),
    )
    http_port: int | None = Field(  # None: `off`
        default=8080,
        ge=0,
        le=65535,
        description="Its port; `off` switches the listener off.",
    )
    trusted_proxies: str = Field(
        default="",
        description=(
            "Addresses and networks of your proxies, such as `10.0.0.5, 192.168.0.0/16`: the bot believes "
            "`X-Forwarded-For` only from them."
        ),
    )
    metrics: bool = Field(default=False, description="Whether [`/metrics`](metrics.md) is served, for Prometheus.")
    metrics_token: SecretStr | None = Field(
        default=None,
        description="The bearer token of its scrapes, needed wherever other machines reach the listener.",
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        repr=False,
        description=(
            "The address of an OpenTelemetry collector for HTTP, such as `http://collector:4318`, which gets "
            "[traces](traces.md). Without it, there are none."
        ),
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        default=None, description="Headers for the collector: `name=value`, separated by commas."
    )
    # A text: "true", and what the conventions' own libraries take.
    otel_instrumentation_genai_capture_message_content: str = Field(
        default="false", description="Whether traces have what was said, without what looks like a secret."
    )
    log_format: Literal["json", "console"] = Field(
        default="console",
        description="The form of the log. `run` logs to standard error, `chat` to `TOOLBRIDGE_HOME/logs`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="Which events are logged: these and graver ones.",
    )
    log_content: bool = Field(
        default=False,
        description=(
            "Whether the log [has texts too](operate.md#logs): questions, answers and the arguments of calls, without "
            "what looks like a secret."
        ),
    )

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
        SettingsError: Values are not valid, or names look like ours but are not: all of that in one error.
    """
    names = [name for name in os.environ if not _THEIRS.fullmatch(name)]
    problems = [
        *_misspelt(names, where="the environment", spared=COMMON),
        *_misspelt(_names_in(env_file), where=str(env_file)),
    ]
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(_env_file=env_file, **given)  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
    except ValidationError as error:
        raise settings_error([*problems, _describe(error)]) from None  # the original holds the input values
    if problems:
        raise settings_error(problems)
    return settings


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


def _misspelt(names: Iterable[str], *, where: str, spared: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield a sentence for each name that looks like one of ours, and is not."""
    known = [name.upper() for name in Settings.model_fields]
    for name in names:
        if name in known or name in FOREIGN or name.startswith(FOREIGN_PREFIX):
            continue
        is_ours = name.startswith(PREFIXES)
        candidates = [name for name in known if name not in spared]
        near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.7 if is_ours else 0.88)
        if near or is_ours:
            hint = f"Did you mean {near[0]}?" if near else "It is not a setting: see .env.example for all names."
            yield f"{name} is set in {where}. {hint} Correct or remove it."


def _describe(error: ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part) for part in item['loc']).upper()}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    ]
    return "Settings are not valid. " + "; ".join(lines) + ". See .env.example."
