"""Which messages are copies of others by a webhook, and what they count as."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.discord.proxies import COPIED_WITHIN_S, Proxies

KEY = "discord:20:1"
Payload = dict[str, Any]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def written(content: str = "m: how long?", *, number: str = "1", channel: str = "20") -> Payload:
    return {"id": number, "channel_id": channel, "content": content, "author": {"id": "7"}, "member": {"nick": "Ada"}}


def copied(content: str = "how long?", **more: Any) -> Payload:
    author = {"id": "8", "username": "Mira", "bot": True}
    return {**written(content, number="2"), "author": author, "webhook_id": "8", "application_id": "9", **more}


def test_a_copy_counts_as_nothing_and_the_deletion_of_its_original_neither() -> None:
    proxies = Proxies()
    proxies.note(written())
    assert not proxies.is_replaced(KEY)
    assert proxies.claim(copied()) == {}
    assert proxies.is_replaced(KEY)


def test_a_copy_of_what_was_withdrawn_is_asked_by_the_same_person() -> None:
    proxies = Proxies()
    proxies.note(written())
    proxies.note_withdrawn(KEY)
    assert proxies.claim(copied()) == {
        "id": "2",
        "channel_id": "20",
        "content": "how long?",
        "author": {"id": "7"},
        "member": {"nick": "Ada"},
    }


def test_other_messages_are_no_copies() -> None:
    clock = Clock()
    proxies = Proxies(clock=clock)
    proxies.note(written())
    person = {name: value for name, value in copied().items() if name != "webhook_id"}
    others = [copied("something else"), copied(" "), copied(channel_id="21"), person]
    assert [proxies.claim(each) for each in others] == [None] * 4
    clock.now_s += COPIED_WITHIN_S + 1
    assert proxies.claim(copied()) is None


@pytest.mark.parametrize(
    ("original", "copy"),
    [
        ("[hi]", "hi"),
        ("mira: yes", "yes"),
        ("Mira Two: how long is the build?", "how long is the build?"),
        ("<@10> m: how long?", "<@10> how long?"),  # the sign is behind a leading mention
        ("m:<@10>", "<@10>"),
    ],
)
def test_a_copy_lacks_only_the_signs_of_its_name(original: str, copy: str) -> None:
    proxies = Proxies()
    proxies.note(written(original))
    assert proxies.claim(copied(copy)) == {}


@pytest.mark.parametrize(
    ("original", "alert"),
    [
        ("is the build green?", "build"),
        ("<@10> which build is that?", "build"),
        ("<@10> is that so?", "is that so?"),  # a copy mentions the bot as well
        ("<@10> green?", "<@11> green?"),
        ("<@10>", "<@10>, look at this"),
    ],
)
def test_an_alert_that_repeats_a_few_words_is_no_copy(original: str, alert: str) -> None:
    proxies = Proxies()
    proxies.note(written(original))
    assert proxies.claim(copied(alert)) is None
    assert not proxies.is_replaced(KEY)


def test_a_message_that_is_delivered_twice_is_noted_once() -> None:
    proxies = Proxies()
    proxies.note(written())
    proxies.note(written())
    proxies.claim(copied())
    assert proxies.is_replaced(KEY)


async def test_a_copy_may_come_a_moment_after_the_deletion() -> None:
    proxies = Proxies(grace_s=0.0)
    proxies.note(written())
    assert not await proxies.is_replaced_soon(KEY)
    proxies.claim(copied())
    assert await proxies.is_replaced_soon(KEY)
