"""What `read_earlier` returns of a thread, and what it costs, against the loopback Discord."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.discord.parse import Thread, conversation_in, event_key
from adapters.discord.snowflakes import made_at
from bot.domain.answers import Ignored
from bot.domain.errors import AdapterError
from bot.domain.events import Earlier, MessageReceived
from tests.fakes.discord import Channel, Message
from tests.fakes.discord.world import REPLY, WRITTEN
from tests.fakes.hosts import Event, ScriptedHost
from tests.unit.adapters.discord.test_adapter import Place, open_place, running

GOOD = [{"type": 1, "components": [{"type": 2, "style": 2, "custom_id": "tb:good:7:1", "label": "Good"}]}]
DETAILS = [{"type": 1, "components": [{"type": 2, "style": 2, "custom_id": "tb:details:7:0", "label": "Details"}]}]
STOP = [{"type": 1, "components": [{"type": 2, "style": 2, "custom_id": "tb:stop:7:0", "label": "Stop"}]}]
POLL_RESULT = {
    "type": "poll_result",
    "fields": [
        {"name": "poll_question_text", "value": "Tea?", "inline": False},
        {"name": "victor_answer_votes", "value": "3", "inline": False},
        {"name": "total_votes", "value": "5", "inline": False},
        {"name": "victor_answer_text", "value": "yes", "inline": False},
    ],
}


async def ignore(event: Event) -> Ignored:
    """Do nothing with what is said in the thread."""
    return Ignored()


def asked(thread: Channel, message: Message, *, has_earlier: bool = True) -> MessageReceived:
    """Return a question in the thread as it arrives."""
    there = Thread(str(thread.parent), owner=str(thread.owner))
    return MessageReceived(
        conversation=conversation_in(str(thread.id), there, guild=str(thread.guild), bot_user="0"),
        event_key=event_key(str(thread.id), str(message.id)),
        author_id=str(message.author.id),
        author_name=message.author.name,
        text=message.content,
        sent_at=datetime.now(UTC),
        has_earlier=has_earlier,
    )


def own(
    place: Place, thread: Channel, text: str, rows: Sequence[dict[str, Any]] = (), *, reply: Message | None = None
) -> None:
    """Put a message of the bot into the thread."""
    message = Message(
        id=place.discord.next_id(),
        channel=thread.id,
        author=place.discord.bot,
        created_at=place.discord.now(),
        content=text,
        components=[*rows],
        type=0 if reply is None else REPLY,
        reference=None if reply is None else reply.id,
    )
    place.discord.messages[message.id] = thread.messages[message.id] = message


async def read(place: Place, question: MessageReceived, *, since: datetime | None = None, limit: int = 50) -> Earlier:
    """Return what is read, after the calls so far were forgotten."""
    place.discord.calls.clear()
    return await place.adapter.read_earlier(question, since=since, limit=limit)


async def test_everyones_words_come_in_order_and_the_bots_traces_and_notices_do_not() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Deploy", message=place.question)
        first = await discord.say(thread, ada, "first")
        own(place, thread, "This message is empty.", reply=first)
        own(place, thread, "✓ look", DETAILS, reply=first)
        own(place, thread, "The answer,", reply=first)
        own(place, thread, "second part.", GOOD)
        own(place, thread, "It still gro", STOP, reply=first)
        await discord.join(thread, ada)
        await discord.say_as_webhook(thread, embeds=[{"title": f"Build 17 of <@{ada.id}>"}])
        question = await discord.say(thread, ada, "and now?", mention=True)
        await discord.say(thread, ada, "too late")
        earlier = await read(place, asked(thread, question))
        assert [(one.relation, one.author_kind, one.text) for one in earlier.messages] == [
            ("starter", "person", "@toolbridge (800000000000000001) Deploy it"),
            ("earlier", "person", "first"),
            ("earlier", "self", "The answer,"),
            ("earlier", "self", "second part."),
            ("earlier", "app", f"Build 17 of @{ada.name} ({ada.id})"),
        ]
        assert not earlier.is_cut
        assert [call.route for call in discord.calls] == ["list_messages"]


async def test_the_result_of_a_poll_comes_along_and_other_notices_of_discord_do_not() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Deploy", message=place.question)
        for kind, embeds in ((6, []), (46, [POLL_RESULT])):
            notice = await discord.say(thread, ada, "x")
            notice.type, notice.content, notice.embeds = kind, "", embeds
        earlier = await read(place, asked(thread, await discord.say(thread, ada, "and now?", mention=True)))
        assert [one.text for one in earlier.messages][1:] == ["Result of the poll: Tea?\nyes: 3 of 5 votes"]


async def test_only_what_was_said_since_then_is_returned() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Deploy", message=place.question)
        known = await discord.say(thread, ada, "known")
        discord.advance(1.0)
        await discord.say(thread, ada, "news")
        question = await discord.say(thread, ada, "and now?", mention=True)
        earlier = await read(place, asked(thread, question), since=made_at(str(known.id)))
        assert [one.text for one in earlier.messages] == ["news"]
        assert not earlier.is_cut


async def test_the_last_messages_are_kept_with_the_starter() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Deploy", message=place.question)
        for number in range(5):
            await discord.say(thread, ada, str(number))
        question = await discord.say(thread, ada, "and now?", mention=True)
        for limit, texts in ((2, ["3", "4"]), (0, []), (9, ["0", "1", "2", "3", "4"])):
            earlier = await read(place, asked(thread, question), limit=limit)
            assert [one.text for one in earlier.messages] == ["@toolbridge (800000000000000001) Deploy it", *texts]
            assert earlier.is_cut == (limit < 5)


@pytest.mark.parametrize("count", [99, 150])
async def test_a_long_thread_that_began_without_a_message_has_no_starter(count: int) -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Plans")
        for number in range(count):
            await discord.say(thread, ada, str(number))
        question = await discord.say(thread, ada, "and now?", mention=True)
        earlier = await read(place, asked(thread, question), limit=200)
        assert {one.relation for one in earlier.messages} == {"earlier"}
        assert len(earlier.messages) == min(count, 100) and earlier.is_cut == (count > 100)


async def test_a_long_post_in_a_forum_has_its_title_and_first_message() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        forum = discord.add_forum(place.channel.guild or 0)
        post = await discord.post(forum, ada, "VPN", "It asks twice.")
        for number in range(110):
            await discord.say(post, ada, str(number))
        question = await discord.say(post, ada, "and now?", mention=True)
        starter, *others = (await read(place, asked(post, question))).messages
        assert (starter.relation, starter.text, len(others)) == ("starter", "VPN\nIt asks twice.", 50)
        await discord.delete(post, post.id)
        assert (await read(place, asked(post, question))).messages[0].text == "VPN"


async def test_nothing_is_asked_where_nothing_can_be_before_the_question() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        thread = await place.discord.start_thread(place.channel, place.question.author, "Deploy")
        question = await place.discord.say(thread, place.question.author, "hello", mention=True)
        assert await read(place, asked(thread, question, has_earlier=False)) == Earlier()
        assert place.discord.calls == []


async def test_a_thread_that_discord_does_not_show_is_an_error_with_the_reason() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Deploy", message=place.question)
        await discord.say(thread, ada, "secret")
        question = await discord.say(thread, ada, "and now?", mention=True)
        discord.fail_next("list_messages", code=50001)
        with pytest.raises(AdapterError, match="View Channel"):
            await read(place, asked(thread, question))
        discord.allow_bot(place.channel, "VIEW_CHANNEL", "SEND_MESSAGES_IN_THREADS")
        await discord.until(lambda: place.adapter.session.shards.channel(str(place.channel.id)).overwrites)
        with pytest.raises(AdapterError, match="Read Message History"):
            await read(place, asked(thread, question))


async def test_a_thread_of_which_nothing_can_be_read_is_an_error_with_the_reason() -> None:
    async with open_place(ScriptedHost(ignore)) as place:
        place.discord.has_message_content = False
        async with running(place):
            discord, ada = place.discord, place.question.author
            said = await discord.say(place.channel, ada, "It fails.")
            thread = await discord.start_thread(place.channel, ada, "Deploy", message=said)
            await discord.say(thread, ada, "secret")
            question = await discord.say(thread, ada, "and now?", mention=True)
            with pytest.raises(AdapterError, match="Message Content intent"):
                await read(place, asked(thread, question))
            assert {message.type for message in thread.messages.values()} - WRITTEN


async def test_a_starter_that_the_thread_does_not_come_with_is_asked_for() -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        discord, ada = place.discord, place.question.author
        thread = await discord.start_thread(place.channel, ada, "Deploy", message=place.question)
        for message in thread.messages.values():
            message.omits_reference = True
        question = await discord.say(thread, ada, "and now?", mention=True)
        [starter] = (await read(place, asked(thread, question))).messages
        assert starter.text == "@toolbridge (800000000000000001) Deploy it"
        assert [call.route for call in discord.calls] == ["list_messages", "get_message"]


@pytest.mark.parametrize("answer", [{"messages": []}, [None], [{"content": "without an id"}], 7])
async def test_an_answer_that_is_not_discords_is_an_error_of_the_adapter(answer: Any) -> None:
    async with open_place(ScriptedHost(ignore)) as place, running(place):
        ada = place.question.author
        thread = await place.discord.start_thread(place.channel, ada, "Plans")
        question = await place.discord.say(thread, ada, "when?", mention=True)
        place.discord.fail_next("list_messages", status=200, answer=answer)
        with pytest.raises(AdapterError, match="does not answer as Discord does"):
            await read(place, asked(thread, question))
