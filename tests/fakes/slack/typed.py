"""What people type in Slack's client, as the client sends it: rich text, tables, forwards, previews, alerts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tests.fakes.slack.world import TOKENS, Json

Rows = Sequence[Sequence[str]]


def rich_text(text: str, block_id: str) -> Json:
    """https://docs.slack.dev/reference/block-kit/blocks/rich-text-block, as Slack makes it of what people write."""
    elements = [_element(part) for part in TOKENS.split(text) if part]
    section = {"type": "rich_text_section", "elements": elements}
    return {"type": "rich_text", "block_id": block_id, "elements": [section]}


def _element(part: str) -> Json:
    match re.fullmatch(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>", part):
        case re.Match() as token:
            kind, target, label = token.groups()
        case _:
            kind, target, label = "", part if TOKENS.fullmatch(part) else "", ""
    match kind:
        case _ if not target:
            return {"type": "text", "text": part}
        case "@":
            return {"type": "user", "user_id": target}
        case "#":
            return {"type": "channel", "channel_id": target}
        case "!" if target.startswith("subteam^"):
            return {"type": "usergroup", "usergroup_id": target.removeprefix("subteam^")}
        case "!":
            return {"type": "broadcast", "range": target}
        case _:
            return {"type": "link", "url": target, **({"text": label} if label else {})}


def pasted_table(rows: Rows, block_id: str) -> Json:
    """A table as the client sends it: an attachment whose fallback says nothing (vercel/chat#803)."""
    cells = [[{"type": "raw_text", "text": cell} if cell else None for cell in row] for row in rows]
    block = {"type": "table", "block_id": block_id, "rows": cells}
    return {"id": 1, "fallback": "[no preview available]", "blocks": [block]}


def forward(original: Json, *, name: str, channel_name: str, files: Sequence[Json] = ()) -> Json:
    """A forwarded message, as an attachment: slackapi/java-slack-sdk#1179, NousResearch/hermes-agent#75481."""
    text = original["text"]
    return {
        "id": 1,
        "ts": original["ts"],
        "channel_id": original["channel"],
        "channel_name": channel_name,
        "channel_team": original["team"],
        "is_msg_unfurl": True,
        "is_share": True,
        "author_id": original["user"],
        "author_name": name,
        "author_subname": name,
        "from_url": _permalink(original),
        "text": text,
        "fallback": f"[August 3rd, 2026 8:45 AM] {name}: {text}",
        "color": "D0D0D0",
        "mrkdwn_in": ["text"],
        "footer": f"Posted in #{channel_name}",
        "message_blocks": [
            {
                "team": original["team"],
                "channel": original["channel"],
                "ts": original["ts"],
                "message": {"blocks": original.get("blocks", [])},
            }
        ],
        **({"files": list(files)} if files else {}),
    }


def preview(url: str, *, title: str, text: str) -> Json:
    """What Slack adds to a message with a link: https://docs.slack.dev/messaging/unfurling-links-in-messages."""
    return {
        "id": 1,
        "from_url": url,
        "original_url": url,
        "fallback": f"Example: {title}",
        "service_name": "Example",
        "title": title,
        "title_link": url,
        "text": text,
    }


def alert(title: str, text: str, *, fields: Mapping[str, str], footer: str) -> Json:
    """https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments"""
    return {
        "id": 1,
        "color": "a30200",
        "fallback": title,
        "title": title,
        "text": text,
        "fields": [{"title": name, "value": value, "short": True} for name, value in fields.items()],
        "footer": footer,
        "mrkdwn_in": ["text"],
    }


def _permalink(message: Json) -> str:
    return f"https://example.slack.com/archives/{message['channel']}/p{message['ts'].replace('.', '')}"
