"""A program that serves a chat platform which is a folder, as `toolbridge run` serves Slack: run it by its path.

Each line of standard input is a message; each outcome is a line of standard output. Posts are the lines of
`posts.jsonl`, what is shown of running turns those of `shown.jsonl`; several processes may share them. While there is a
file `busy`, the platform asks to wait. While there is a file `slow`, a post hangs after it has become visible.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.app import open_app
from bot.cli.main import INTERRUPTED, until_terminated
from bot.cli.run import serve as serve_adapters
from bot.domain.answers import Known, Queued, Refused
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import ConversationKey, Earlier, MessageReceived, SharedFile
from bot.domain.turns import Post, TurnView
from bot.observe.logs import configure_logs
from bot.ports.platform import Found, Host
from bot.settings import load_settings

PAUSE_S = 0.1


class FolderPlatform:
    """The Adapter port on files that every process appends to."""

    name = "folder"
    serves = "folder/"

    def __init__(self, folder: Path, host: Host) -> None:
        self._folder = folder
        self._host = host

    async def run(self) -> None:
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async with asyncio.TaskGroup() as handing_over:
            while line := await lines.readline():
                handing_over.create_task(self._hand_over(json.loads(line)))

    async def _hand_over(self, typed: dict[str, str]) -> None:
        outcome = await self._host.accept(
            MessageReceived(
                conversation=ConversationKey(platform=self.name, space="", channel=typed["room"]),
                event_key=typed["key"],
                author_id="ann",
                author_name="Ann",
                text=typed["text"],
                sent_at=datetime.now(UTC),
            )
        )
        turn_id = outcome.turn_id if isinstance(outcome, Queued | Known) else None
        notice = outcome.notice if isinstance(outcome, Refused) else ""
        print(json.dumps({"key": typed["key"], "turn_id": turn_id, "notice": notice}), flush=True)

    def show(self, view: TurnView) -> None:
        self._append("shown.jsonl", {"turn": view.turn_id, "state": view.state, "text": view.text})

    def split(self, text: str) -> Sequence[str]:
        return (text,)

    async def post(self, post: Post) -> str:
        if (self._folder / "busy").exists():
            raise RateLimitError(retry_after_s=PAUSE_S)
        self._append("posts.jsonl", {"key": post.key, "to": post.in_reply_to, "text": post.text})
        while (self._folder / "slow").exists():  # noqa: ASYNC110  (another process makes the file)
            await asyncio.sleep(PAUSE_S)
        return post.key

    async def find(self, post: Post) -> Found | None:
        posts = self._folder / "posts.jsonl"
        lines = posts.read_text().splitlines() if posts.exists() else []
        return next((Found(reference=post.key) for line in lines if json.loads(line)["key"] == post.key), None)

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        return Earlier()

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("the folder has no files of messages")

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"pid": os.getpid(), **row}) + "\n")


async def serve(arguments: argparse.Namespace) -> int:
    settings = load_settings()
    configure_logs(log_format="json", level="INFO", file=None)
    adapters = [lambda host: nullcontext(FolderPlatform(arguments.folder, host))]
    async with open_app(settings, adapters, drain_s=arguments.drain_s, lease_s=arguments.lease_s) as app:
        print(json.dumps({"ready": os.getpid()}), flush=True)
        await serve_adapters(app.adapters, app.drain)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drain-s", type=float, required=True)
    parser.add_argument("--lease-s", type=float, required=True)
    try:
        return asyncio.run(until_terminated(serve(parser.parse_args())))
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
