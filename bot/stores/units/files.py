"""The files that conversations have saved, where the bundled tool server keeps them in the database.

That server reads and writes the table by itself (`mcp_server/database.py`), one file in each transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.stores.db import Db, places


def count(db: Db, workspaces: Sequence[str]) -> int:
    """Return how many files there are in these workspaces."""
    (row,) = db.execute(f"SELECT count(*) AS files FROM file WHERE workspace IN {places(workspaces)}", workspaces)  # noqa: S608  (no outside text)
    return row["files"]


def delete(db: Db, workspaces: Sequence[str]) -> int:
    """Delete the files of these workspaces; return how many there were."""
    return len(
        db.execute(f"DELETE FROM file WHERE workspace IN {places(workspaces)} RETURNING name", workspaces)  # noqa: S608  (no outside text)
    )


def delete_older(db: Db, before: float, *, limit: int) -> int:
    """Delete up to `limit` files that were saved before that time; one that is being saved now is passed over."""
    locked = db.for_update("file", skips=True)
    older = f"SELECT workspace, name FROM file WHERE modified_at < ? LIMIT ? {locked}"  # noqa: S608  (no outside text)
    return len(
        db.execute(
            f"DELETE FROM file WHERE modified_at < ? AND (workspace, name) IN ({older}) RETURNING name",  # noqa: S608  (no outside text)
            (before, before, limit),
        )
    )
