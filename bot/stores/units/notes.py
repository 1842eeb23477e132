"""What adapters have to remember.

Each function does what the method of its name does in `bot.ports.store.NoteStore` or
`bot.ports.retention_store.RetentionStore`.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.stores.db import Db, key_range


def notes(db: Db, prefix: str) -> Mapping[str, str]:
    """Return the notes by name."""
    rows = db.execute("SELECT name, text FROM note WHERE name >= ? AND name < ? ORDER BY name", key_range(prefix))
    return {row["name"]: row["text"] for row in rows}


def put_note(db: Db, name: str, text: str | None) -> None:
    """Store, replace or delete a note."""
    if text is None:
        db.execute("DELETE FROM note WHERE name = ?", (name,))
    else:
        db.execute(
            "INSERT INTO note (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text",
            (name, text),
        )


def first_note(db: Db, name: str, text: str) -> str:
    """Store the note where there is none of that name yet; return the text that is stored."""
    (row,) = db.execute(
        "INSERT INTO note (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = note.text RETURNING text",
        (name, text),
    )
    return row["text"]


def replace_note(db: Db, name: str, *, old: str, new: str) -> bool:
    """Store the new text where the old one is there still."""
    return bool(db.execute("UPDATE note SET text = ? WHERE name = ? AND text = ? RETURNING name", (new, name, old)))
