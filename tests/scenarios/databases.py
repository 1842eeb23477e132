"""The database of a bot under test, as settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.fernet import Fernet

from tests.fakes import postgres
from tests.fakes.wire import Wire


def behind(wire: Wire) -> Mapping[str, Any]:
    """Return the settings of a bot whose database, a new schema of the tests' PostgreSQL, is behind the wire."""
    return {
        "database_url": f"postgresql://postgres@127.0.0.1:{wire.port}/postgres",
        "database_schema": postgres.new_schema(),
        "toolbridge_secret_key": Fernet.generate_key().decode(),
    }
