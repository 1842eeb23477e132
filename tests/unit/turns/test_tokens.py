"""Counting tokens: with a real tiktoken encoding, and by the estimate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from bot.turns.tokens import TokenCounter, estimate_tokens, open_counter

# Each byte is a token, and so are these: a real encoding that needs no download.
WORDS = (b"th", b"the", b" the")


def small_encoding(_: str = "") -> tiktoken.Encoding:
    ranks = {bytes([byte]): byte for byte in range(256)} | {word: 256 + at for at, word in enumerate(WORDS)}
    return tiktoken.Encoding(
        "small", pat_str=r" ?\w+|\s+|[^\w\s]+", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 300}
    )


def load_and_wait(counter: TokenCounter) -> None:
    """Count once, which starts the loading, and wait for its thread."""
    counter("x")
    for thread in threading.enumerate():
        if thread.name == "tiktoken":
            thread.join(timeout=20)


def no_table(_: str) -> tiktoken.Encoding:
    raise OSError("no network")


def test_until_the_table_is_there_counts_are_estimates_and_then_exact() -> None:
    may_load = threading.Event()

    def load(name: str) -> tiktoken.Encoding:
        may_load.wait(timeout=20)
        return small_encoding()

    counter = open_counter("some-model", load=load)
    assert counter("the the") == estimate_tokens("the the") == 2
    may_load.set()
    load_and_wait(counter)
    assert counter("the the the") == 3
    assert counter("xyz") == 3


def test_the_loader_is_asked_for_the_model_once() -> None:
    asked: list[str] = []

    def load(name: str) -> tiktoken.Encoding:
        asked.append(name)
        return small_encoding()

    counter = open_counter("some-model", load=load)
    assert asked == []
    load_and_wait(counter)
    counter("more")
    assert asked == ["some-model"]


@pytest.mark.parametrize("load", [no_table, small_encoding])
def test_special_tokens_in_a_text_are_plain_text(load: Callable[[str], tiktoken.Encoding]) -> None:
    counter = open_counter("some-model", load=load)
    load_and_wait(counter)
    assert counter("<|endoftext|>") > 1


def test_without_a_table_estimates_stay() -> None:
    counter = open_counter("some-model", load=no_table)
    load_and_wait(counter)
    assert counter("abcdefgh") == 2


def test_a_model_that_tiktoken_does_not_know_is_estimated() -> None:
    counter = open_counter("somebodys-own-model")
    load_and_wait(counter)
    assert counter("abcdefgh") == 2


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a" * 50_000, " " * 50_000, "é" * 50_000, "ab" * 25_000])
def test_no_text_takes_long(text: str) -> None:
    counter = open_counter("some-model", load=small_encoding)
    load_and_wait(counter)
    started = time.process_time()
    assert counter(text) > 0
    assert time.process_time() - started < 1.0


def test_a_very_long_text_is_estimated() -> None:
    counter = open_counter("some-model", load=small_encoding)
    load_and_wait(counter)
    assert counter("a" * 50_000) == 50_000
    assert counter("a" * 50_001) == estimate_tokens("a" * 50_001) < 50_000


@given(st.text(st.characters(codec=None)))
def test_every_text_has_a_count_and_only_the_empty_one_has_none(text: str) -> None:
    assert (estimate_tokens(text) == 0) == (text == "")
    assert estimate_tokens(text) <= 2 * len(text) + 1


@given(st.text(), st.text())
def test_two_texts_together_are_estimated_at_most_as_both_apart(one: str, other: str) -> None:
    assert estimate_tokens(one + other) <= estimate_tokens(one) + estimate_tokens(other)
    assert estimate_tokens(one + other) >= max(estimate_tokens(one), estimate_tokens(other))


def test_other_scripts_count_for_more_than_plain_english() -> None:
    assert estimate_tokens("hello there my friend") == 6
    assert estimate_tokens("привет") == 6
    assert estimate_tokens("こんにちは") == 8
