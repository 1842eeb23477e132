"""Settings of what is kept, where and how long, and of the processes that share it."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from bot.settings.values import Group, HomePath
from bot.text.database_urls import is_postgres, read_database_url, sqlite_path


class DataSettings(Group):
    """The home folder, the database, the rules, the keys, and how long texts are kept."""

    toolbridge_home: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
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
    toolbridge_config: HomePath = Field(
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

    @property
    def kept_days(self) -> int | None:
        """How many days texts are kept; None: for ever."""
        return self.retention_days or None

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


class ProcessSettings(Group):
    """What a process is called, and how long it takes to end."""

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

    @field_validator("process_name")
    @classmethod
    def _check_process_name(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("it has a character that cannot be shown")
        return value

    @property
    def process(self) -> str:
        """What this process is called where operators see it: PROCESS_NAME, or its host and number."""
        return self.process_name or f"{socket.gethostname()}:{os.getpid()}"
