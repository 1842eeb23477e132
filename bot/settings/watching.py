"""Settings of the HTTP listener, and of what operators see: metrics, traces, logs."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator

from bot.domain.errors import SettingsError
from bot.settings.values import Group, HeaderSecret, listed

# "event_only" is among the others: the bot's traces have spans, and no events.
_CAPTURES = frozenset({"true", "1", "yes", "on", "span_only", "span_and_event"})
_CAPTURES_NOT = frozenset({"false", "0", "no", "off", "no_content", "event_only"})


class WatchingSettings(Group):
    """Where the listener is, who may read it, where traces go, what is logged."""

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
    metrics_token: HeaderSecret = Field(
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
        description="Which events of the bot are logged: these and graver ones. Libraries log from WARNING on.",
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
        for item in listed(value):
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

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The addresses and networks of TRUSTED_PROXIES."""
        return tuple(map(ip_network, listed(self.trusted_proxies)))

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
