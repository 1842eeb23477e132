"""URLs of databases, as they are shown and handed on."""

from __future__ import annotations

import pytest

from bot.text.database_urls import read_database_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://bot:pw@db:5432/toolbridge?sslmode=require",
            "postgresql://bot@db:5432/toolbridge?sslmode=require",
        ),
        ("postgres://b%40t:p%2Fw@[::1]:1,db/a", "postgresql://b%40t@[::1]:1,db/a"),
        (
            "postgresql:///a?host=/var/run/postgresql&user=bot&password=pw",
            "postgresql://bot@/a?host=/var/run/postgresql",
        ),
        ("postgresql://%2Fvar%2Frun/a?sslpassword=pw", "postgresql://%2Fvar%2Frun/a"),
    ],
)
def test_commands_of_postgresql_get_the_user_and_the_parameters_but_no_secret(url: str, shown: str) -> None:
    read = read_database_url(url)
    assert read.for_commands == shown
    assert read_database_url(read.for_commands).hosts == read.hosts
