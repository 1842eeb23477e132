"""The bundled server, where it cannot start."""

from __future__ import annotations

import sys

import pytest

from mcp_server.__main__ import main


@pytest.mark.parametrize(
    ("url", "missing", "said"),
    [
        (
            "postgresql://u:secret-pw@h/d",
            "psycopg",
            "Files are kept in PostgreSQL.*pip install 'toolbridge",
        ),
        ("postgresql://u:secret-pw@h/d?sslmod=x", "", "the address of the database for files is not valid"),
    ],
)
def test_where_files_cannot_be_kept_in_postgresql_it_ends_with_one_sentence(
    url: str, missing: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLBRIDGE_FILES_URL", url)
    if missing:
        for module in ("psycopg", "mcp_server.connection", "mcp_server.database"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=said) as ended:
        main([])
    assert "secret-pw" not in str(ended.value)
