"""Text that grows: what is shown is always a beginning of what the whole becomes, and it comes soon."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.text.holding import HeldText
from bot.text.known_values import known
from bot.text.redaction import HIDDEN, redact_cut, redact_prose, shown_until
from tests.attacks.corpus import SHAPES, leaks
from tests.attacks.ordinary import ordinary_answers

ANSWERS = list(ordinary_answers(40, seed=5))
LEAKS = [leak.text for shape in SHAPES for leak in leaks(shape, 3, seed=5)]
LONG = [
    "See https://example.com/" + "a/b-c_d?x=1&" * 60,
    '{"a":1,' + ",".join(f'"k{number}":"value{number}"' for number in range(60)) + "}",
    "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAA/9cAB+" * 40,
]
GLUE = [
    "\n",
    " ",
    "\n\n",
    ": ",
    " é ",
    "日本",
    "password: ",
    "The token is ",
    "`",
    '"',
    "<password>",
    "api key",
    "-----BEGIN",
]
JOINS = ["", ",", '","token":"', "&", "/", "+"]
OWN = "our ów n-value 1"
texts = st.lists(st.sampled_from([*LEAKS, *ANSWERS, *GLUE, OWN, "hunter2"]), max_size=7).map(" ".join)


def shown_in_pieces(text: str, sizes: list[int]) -> list[str]:
    """Return what is shown after each piece, and at last the whole."""
    held, shown, at = HeldText(), [""], 0
    while at < len(text):
        size = sizes[len(shown) % len(sizes)]
        shown.append(shown[-1] + held.add(text[at : at + size]))
        at += size
    return [*shown, shown[-1] + held.end()]


@settings(max_examples=100)
@given(texts, st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_whatever_the_pieces_are_no_part_of_a_secret_is_shown(text: str, sizes: list[int]) -> None:
    with known.hiding([OWN], mode="on"):
        whole = redact_prose(text)
        shown = shown_in_pieces(text, sizes)
    assert all(whole.startswith(part) for part in shown)
    assert shown[-1] == whole


words_without_space = st.tuples(
    st.lists(st.sampled_from([*LEAKS, *LONG, OWN, "A" * 90]), max_size=5), st.sampled_from(JOINS)
)


@settings(max_examples=100)
@given(words_without_space, st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_nor_is_any_part_of_one_in_a_long_word(parts: tuple[list[str], str], sizes: list[int]) -> None:
    text = parts[1].join(part.replace(" ", "") for part in parts[0])
    with known.hiding([OWN], mode="on"):
        whole = redact_prose(text)
        shown = shown_in_pieces(text, sizes)
    assert all(whole.startswith(part) for part in shown)
    assert shown[-1] == whole


NAMES = ["redis_password", "my-password", "--password", "<password", "x_passwd", "--auth-token", "api token secret"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [" = ", " : ", " := ", " => ", " | ", " is ", ": ", "=", " "])
def test_wherever_a_text_is_looked_at_no_secret_is_cut_from_its_name(name: str, sign: str) -> None:
    text = f'It is {name}{sign}"0fG%-yArcHg+C0E865q" now.'.encode()
    whole = redact_prose(text.decode())
    for length in range(len(text)):
        end = shown_until(text[:length])
        assert redact_prose(text[:end].decode()) + redact_prose(text[end:].decode()) == whole, text[:end]


@pytest.mark.parametrize("sign", [" = ", " : ", " := ", " => ", " | ", " is ", "=", " "])
def test_the_value_of_an_option_is_hidden_behind_any_sign(sign: str) -> None:
    assert "0fG" not in redact_prose(f'Call it with --password{sign}"0fG%-yArcHg+C0E865q".')


@settings(max_examples=100)
@given(texts)
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact_prose(redact_prose(text)) == redact_prose(text)


def test_of_ordinary_words_little_is_held_back() -> None:
    text = "Six times seven is forty-two, and the answer goes on like this for a while. " * 20
    for at, shown in zip(range(0, len(text), 4), shown_in_pieces(text, [4])[1:], strict=False):
        assert len(shown) >= at - 100


FLOWING = [
    *(text * 4 for text in LONG),
    "これは長い文章です。秘密ではありません。今日は天気がよいので散歩に行きましょう。" * 30,
    "パスワード: これは長い文章です。" + "秘密ではありません今日は天気がよいので" * 60,
    "const f=async(a)=>{return await g(a.b,c[1])};" * 60,
    "A cookie: the thing that you eat, which goes on in this sentence, and so on. " * 20,
    "<password field that is described> and a text without a tag goes on here. " + "Some more words. " * 60,
]


@pytest.mark.parametrize("text", FLOWING)
def test_long_words_and_scripts_without_spaces_flow(text: str) -> None:
    for at, shown in zip(range(0, len(text), 4), shown_in_pieces(text, [4])[1:], strict=False):
        assert len(shown) >= at - 700


def test_a_private_key_is_held_back_until_its_end() -> None:
    [leak] = leaks("pem", 1, seed=1)
    block = leak.text[leak.text.index("-----BEGIN") : leak.text.rindex("-----") + 5]
    held = HeldText()
    shown = held.add("Here is the key that you asked for, from the vault of the team, all in one block:\n\n")
    shown += "".join(held.add(char) for char in block)
    assert shown == "Here is the key that you asked for, from the vault of the team, all in one block:\n\n"
    assert held.add("\n\nThat is all, and it is more than enough. ".ljust(120) + "end ").startswith(f"{HIDDEN}\n\nThat")


@pytest.mark.parametrize("name", ["redis_password", "db-password", "a <password", "api key", "auth token"])
def test_a_value_in_quotes_is_held_back_whatever_its_name_begins_with(name: str) -> None:
    before, value = f"{'It is a word of many. ' * 5}Here is {name} ", '= "0fG%-yArcHg+C 0E865q" and so on.'
    held = HeldText()
    shown = held.add(before) + held.add(value)
    assert redact_prose(before + value).startswith(shown)
    assert shown + held.end() == redact_prose(before + value)
    assert HIDDEN in redact_prose(before + value)


def test_a_text_that_broke_off_ends_before_what_may_be_a_secret() -> None:
    assert redact_cut("The password: hunter2 and") == "The password: [hidden] and"
    assert redact_cut("The word is unfin") == "The word is unfin"
    assert redact_cut("It is ghp" + "_abc123defg456") == "It is [hidden]"
    assert redact_cut("The last is word299") == "The last is word299"


PIECES = [
    "a",
    "token: ",
    'token:"',
    "<password>",
    "cookie: a=b; ",
    "cookie: ",
    "-----BEGIN PRIVATE KEY-----\n",
    "é",
    "--token ",
]


@pytest.mark.parametrize("piece", PIECES)
def test_a_text_made_to_be_slow_takes_linear_time(piece: str) -> None:
    def seconds(chars: int) -> float:
        text, began = (piece * chars)[:chars], time.thread_time()
        shown_in_pieces(text, [16])
        return time.thread_time() - began

    seconds(2_000)  # patterns are compiled, and learn
    assert seconds(40_000) < 12 * seconds(10_000) + 0.2
