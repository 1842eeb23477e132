"""Messages as people read them: names in place of Slack's ids, and files of which a message names only the id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from adapters.slack.api import SlackApi
from adapters.slack.files import located
from adapters.slack.identities import Identities
from adapters.slack.people import People, mentions, with_names
from bot.domain.errors import AdapterError
from bot.domain.events import MessageReceived, Quoted, SharedFile

MAX_NAMED = 20  # people in one message whose names are looked up; Slack answers 100 a minute
MAX_LOCATED = 5  # files in one message that are looked up
FILE_PATIENCE_S = 1.0  # Slack waits three seconds for its acknowledgement


class Readable:
    """Looks up names and files; where Slack does not say them in time, the ids stay."""

    def __init__(self, api: SlackApi, *, identities: Identities, people: People) -> None:
        self._api = api
        self._identities = identities
        self._people = people

    async def message(self, message: MessageReceived) -> MessageReceived:
        """Return the message without the bot's own mention, with names, and with its files located."""
        team = message.conversation.space
        bot = await self._identities.of(team)
        author = [message.author_id] if message.author_kind == "person" else []
        texts = [message.text, *(quoted.text for quoted in message.quoted)]
        names, files = await asyncio.gather(
            self._names(team, [*author, *_ids(texts, message.quoted)], known={bot.user: bot.user_name}),
            self._located(team, message.files),
        )
        return replace(
            message,
            author_name=names.get(message.author_id) or message.author_name,
            text=with_names(message.text, names, bot.user).strip(),
            files=files,
            quoted=tuple(_named(quoted, names) for quoted in message.quoted),
        )

    async def quotations(self, team: str, quoted: Sequence[Quoted]) -> tuple[Quoted, ...]:
        """Return messages with names; of many people, those of the last messages are looked up."""
        bot = await self._identities.of(team)
        newest = quoted[::-1]
        ids = _ids([each.text for each in newest], newest)
        names = await self._names(team, ids, known={bot.user: bot.user_name})
        return tuple(_named(each, names) for each in quoted)

    async def _names(self, team: str, ids: Iterable[str], *, known: Mapping[str, str]) -> dict[str, str]:
        people = [person for person in dict.fromkeys(ids) if person not in known][:MAX_NAMED]
        names = await asyncio.gather(*(self._people.name(team, person) for person in people))
        return {**known, **dict(zip(people, names, strict=True))}

    async def _located(self, team: str, files: Sequence[SharedFile]) -> tuple[SharedFile, ...]:
        wanted = files[:MAX_LOCATED]
        found = await asyncio.gather(*(self._locate(team, file) for file in wanted))
        return (*found, *files[MAX_LOCATED:])

    async def _locate(self, team: str, file: SharedFile) -> SharedFile:
        try:
            return await located(self._api, file, team=team, wait_s=FILE_PATIENCE_S)
        except AdapterError:
            return file  # it is looked up again when it is read, and its failure is said then


def _ids(texts: Sequence[str], quoted: Sequence[Quoted]) -> list[str]:
    """Return the users to look up: authors first, then those who are mentioned."""
    authors = [each.author for each in quoted if each.author_kind == "person" and mentions(f"<@{each.author}>")]
    return [*authors, *(person for text in texts for person in sorted(mentions(text)))]


def _named(quoted: Quoted, names: Mapping[str, str]) -> Quoted:
    return replace(
        quoted,
        text=with_names(quoted.text, names, "", keeps_ids=True).strip(),
        author=names.get(quoted.author, quoted.author),
    )
