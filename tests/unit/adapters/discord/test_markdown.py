"""What Discord's clients make of an answer: code stays code, prose stays prose, and no word is lost."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.discord.code_blocks import JOINER, LOOKALIKE, with_fenced_indents
from adapters.discord.markdown import PART_CHARS, answer_text
from adapters.discord.render import notice_text, split_answer

# --- a reader of Discord's rules for code ---
# https://github.com/ItzDerock/discord-markdown-parser/blob/main/src/utils/regex.ts writes down what clients do.

CODE_BLOCK = re.compile(r"```(?:([a-z0-9_+\-.#]+?)\n+)?\n*([\s\S]+?)\n*```", re.IGNORECASE)
CODE_IN_LINE = re.compile(r"(`+)([\s\S]*?[^`])\1(?!`)")
ESCAPED = re.compile(r"\\[^0-9A-Za-z\s]")
QUOTATION = re.compile(r" *> [^\n]*(?:\n *> [^\n]*)*\n?")
ALL_QUOTED = re.compile(r"^ *>>> ", re.MULTILINE)


class Code(NamedTuple):
    language: str
    text: str


def shown(text: str, *, is_quoted: bool = False) -> tuple[list[Code], str]:
    """Return the code blocks that a client shows, and the prose with a mark where each is; ° is a harmless backtick."""
    found: list[Code] = []
    prose, at = "", 0
    while at < len(text):
        is_begin = not is_quoted and (at == 0 or text[at - 1] == "\n")
        if is_begin and (quotation := QUOTATION.match(text, at)):
            blocks, words = shown(re.sub(r"(?m)^ *> ?", "", quotation[0]), is_quoted=True)
            found, prose, at = found + blocks, prose + words, quotation.end()
        elif escaped := ESCAPED.match(text, at):
            prose, at = prose + escaped[0][1].replace("`", "°"), escaped.end()
        elif block := CODE_BLOCK.match(text, at):
            found.append(Code(block[1] or "", block[2]))
            prose, at = f"{prose}§", block.end()
        elif in_line := CODE_IN_LINE.match(text, at):
            prose, at = prose + in_line[2].replace("`", "°"), in_line.end()
        else:
            end = next(
                (place for place in range(at + 1, len(text)) if text[place] in "\\`" or text[place - 1] == "\n"), None
            )
            prose, at = prose + text[at:end], len(text) if end is None else end
    return found, prose


def copied(code: Code) -> str:
    """What people copy, but for the invisible characters and the indentation of a list."""
    return "\n".join(line.strip() for line in code.text.replace(JOINER, "").strip().split("\n"))


# --- fences ---


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("````\na\n````", "```\na\n```"),
        ("~~~py\na\n~~~", "```py\na\n```"),
        ("~~~~~ py\na\n~~~\n~~~~~~", "```py\na\n~~~\n```"),
        ('```python title="x.py" {1,3}\na\n```', "```python\na\n```"),
        ("```{.python .numberLines}\na\n```", "```python\na\n```"),
        ("```c++\na\n```", "```c++\na\n```"),
        ("```12:15:src/app.ts\na\n```", "```12\na\n```"),
        ("```日本\na\n```", "```\na\n```"),
        ("````md\n```py\nx\n```\n````", f"```md\n`{JOINER}``py\nx\n`{JOINER}``\n```"),
        ("~~~\n```\n~~~\nend", f"```\n`{JOINER}``\n```\nend"),
        ("- ~~~sh\n  ls\n  ~~~\n- next", "- ```sh\n  ls\n  ```\n- next"),
        ("> ~~~sh\n> ls\n> ~~~", "> ```sh\n> ls\n> ```"),
        (">```\n>a\n>\n>b\n>```", "> ```\n> a\n> \n> b\n> ```"),
        ("> - ~~~\n>   a\n>   ~~~", "> - ```\n>   a\n>   ```"),
        ("> > ```\n> > a\n> > ```", "> ```\n> a\n> ```"),
        ("> ```\n> a\nno more", "> ```\n> a\n> ```\nno more"),
        ("```\n```\nend", f"```\n{JOINER}\n```\nend"),
        ("     ```py\n     a\n     ```", "     ```py\n     a\n     ```"),
    ],
)
def test_every_fence_is_one_that_discord_knows(written: str, expected: str) -> None:
    assert answer_text(written) == expected
    assert answer_text(expected) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Look:\n```py\nprint(", "Look:\n```py\nprint(\n```"),
        ("````py\nprint(1)\n", "```py\nprint(1)\n```"),
        ("```py", f"```py\n{JOINER}\n```"),
        ("~~~\na\n~~", "```\na\n~~\n```"),
        ("> ```\n> a", "> ```\n> a\n> ```"),
        ("Use `co", "Use \\`co"),
    ],
)
def test_code_that_still_grows_is_code_already(written: str, expected: str) -> None:
    assert answer_text(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Look:\n\n    a = 1\n\n    b = 2\n\nend", "Look:\n\n```\na = 1\n\nb = 2\n```\n\nend"),
        ("\ta = 1\nend", "```\na = 1\n```\nend"),
        ("- item\n\n      a = 1\n\n- next", "- item\n\n  ```\n  a = 1\n  ```\n\n- next"),
        (">     a = 1\n> end", "> ```\n> a = 1\n> ```\n> end"),
        ("Look:\n\n    `` ``` ``\n\nend", f"Look:\n\n```\n`` `{JOINER}`` ``\n```\n\nend"),
        ("- a\n    - b\n        - c", "- a\n    - b\n        - c"),
        ("words\n    go on", "words\n    go on"),
        ("```\n    a\n```", "```\n    a\n```"),
        ("Look:\n\n    a = 1", "Look:\n\n```\na = 1\n```"),
    ],
)
def test_code_by_indentation_gets_a_fence(written: str, expected: str) -> None:
    assert split_answer(written) == [expected]


def test_a_part_that_begins_within_a_list_is_not_code() -> None:
    text = "1. one\n" + "".join(f"    - item {number} of the first\n" for number in range(200))
    first, second, *_ = split_answer(text)
    assert second.startswith("    - item") and "```" not in first + second


@pytest.mark.parametrize("fence", ["```", "````", "~~~", "    "])
def test_code_that_is_cut_is_code_in_every_part(fence: str) -> None:
    lines = [f"line = {number}" for number in range(400)]
    is_fence = fence.strip()
    text = f"{fence}py words\n" + "\n".join(lines) + f"\n{fence}" if is_fence else "\n".join(f"    {x}" for x in lines)
    parts = split_answer(f"Look:\n\n{text}\n\nend")
    assert len(parts) > 2
    assert "\n".join(copied(code) for part in parts for code in shown(part)[0]).split("\n") == lines


@pytest.mark.parametrize(("first", "following"), [("- ", "  "), ("> ", "> "), ("> - ", ">   "), ("1. - ", "     ")])
def test_code_in_a_list_or_quotation_that_is_cut_is_code_in_every_part(first: str, following: str) -> None:
    lines = [f"line = {number}" for number in range(400)]
    text = "\n".join([f"{first}````py x", *(f"{following}{line}" for line in lines), f"{following}````", "", "end"])
    parts = split_answer(text)
    assert len(parts) > 2
    blocks = [code for part in parts for code in shown(part)[0]]
    assert {code.language for code in blocks} == {"py"}
    assert "\n".join(map(copied, blocks)).split("\n") == lines


# --- prose ---


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (">>> print(1)\n1", "\\>>> print(1)\n1"),
        ("- >>> a", "- \\>>> a"),
        ("> >>> a\n> b", "> \\>>> a\n> b"),
        ("1. - >>>> a", "1. - \\>>>> a"),
        ("        >>> a", "        \\>>> a"),
        ("```\n>>> a\n```", "```\n>>> a\n```"),
        ("a >>> b", "a >>> b"),
        ("> one\n>\n> two", "> one\n> \n> two"),
        (">one\n>>two", "> one\n> > two"),
        (">5 of them", ">5 of them"),
        ("> one\n> > two", "> one\n> > two"),
        ("use ```a``` here", "use `a` here"),
        ("use ```a`b``` here", "use ``a`b`` here"),
        ("use `` ``` `` here", "use `` ``` `` here"),
        ("three ``` here\n\n```\na `b`\n```", "three \\`\\`\\` here\n\n```\na `b`\n```"),
        ("one ` here\n\n```\na `b`\n```", "one \\` here\n\n```\na `b`\n```"),
        ("a &lt;b&gt; &amp; c&nbsp;d &quot;e&quot;", 'a \\<b\\> & c\xa0d \\"e\\"'),
        ("&amp;lt; and &lt;@1&gt; and &nothing; and &copy;", "\\&lt; and \\<@1\\> and &nothing; and ©"),
        ("`&lt;` and\n```\n&lt;\n```", "`&lt;` and\n```\n&lt;\n```"),
        ("See ![a cat](https://a.b/c.png) and ![](<https://a.b>).", "See [a cat](https://a.b/c.png) and https://a.b."),
        ("`![a](b)`", "`![a](b)`"),
        ("Title\n=====\ntext", "# Title\ntext"),
        ("Title\n---\ntext", "## Title\ntext"),
        ("> Title\n> ---", "> ## Title"),
        ("one\ntwo\n---\nthree", "one\ntwo\n──────────\nthree"),
        ("Items:\n-", "Items:\n-"),
        ("a\n\n---\n\n***\n\n_ _ _\n\nb", "a\n\n──────────\n\n──────────\n\n──────────\n\nb"),
        ("> ***", "> ──────────"),
        ("> > | a | b |\n> > |---|---|\n> > | 1 | 2 |", "> ```\n> a | b\n> --+--\n> 1 | 2\n> ```"),
    ],
)
def test_prose_is_shown_as_it_was_written(written: str, expected: str) -> None:
    assert answer_text(written) == expected
    assert answer_text(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[a][1]\n\n[1]: https://example.com",
        "A fact.[^1]\n\n[^1]: Its source.",
        "- [x] done\n- [ ] to do",
        "<https://example.com> and https://example.com/?a=1&b=2",
        "3. three\n4. four\n\n1) one\n\n+ plus",
        "-# small\n#tag\n# Heading",
        "||hidden|| __under__ ~~gone~~ **bold**",
        "if a > b and b >= c: a >> 2",
        "~~~gone~~~ stays",
    ],
)
def test_what_stays_readable_is_left_as_it_is(text: str) -> None:
    assert answer_text(text) == text


# --- any answer ---

WORDS = st.lists(
    st.sampled_from(["some", "words", "`code`", "a ` tick", "**b**", "x > y", "&lt;"]), min_size=1, max_size=8
)
CODE = st.lists(
    st.sampled_from(
        ["x = 1", "", "`a`", "```", "```py", "~~~~", ">>> a", "# c", "| a | b |", "a ` b", "  deep", "````"]
    ),
    min_size=1,
    max_size=6,
).filter(lambda lines: bool(lines[0].strip() and lines[-1].strip()))


def in_fence(lines: list[str], mark: str, info: str, prefix: str) -> str:
    fence = mark * max([3, *(len(run) + 1 for line in lines for run in re.findall(f"{mark}+", line))])
    return "\n".join(f"{prefix}{line}" for line in [f"{fence}{info}", *lines, fence])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[Code]]:
    """A text, and the code in it."""
    blocks: list[str] = []
    expected: list[Code] = []
    for _ in range(draw(st.integers(1, 5))):
        blocks.append(draw(st.sampled_from(["", "> ", "# ", ">>> "])) + " ".join(draw(WORDS)))
        lines, way = draw(CODE), draw(st.sampled_from(["`", "~", "    "]))
        language = draw(st.sampled_from(["", "py", "c++"])) if way.strip() else ""
        if way.strip():
            info = language + draw(st.sampled_from(["", " title=x"]) if language else st.just(""))
            blocks.append(in_fence(lines, way, info, draw(st.sampled_from(["", "> ", "> > "]))))
        elif any(line.startswith(("`", "~")) for line in lines):
            continue  # an indented fence is a fence
        else:
            blocks.append("\n".join(f"    {line}" for line in lines))
        blocks.append("And then:")  # two quotations in a row would be one
        expected.append(Code(language, "\n".join(lines)))
    return "\n\n".join(blocks), expected


@given(document=documents())
@settings(max_examples=80)
def test_clients_show_exactly_the_code_that_was_written(document: tuple[str, list[Code]]) -> None:
    text, expected = document
    blocks, prose = shown("\n".join(split_answer(text)))
    assert [(code.language, copied(code)) for code in blocks] == [(code.language, copied(code)) for code in expected]
    assert prose.count("§") == len(expected)
    assert not ALL_QUOTED.search(CODE_BLOCK.sub("", "\n".join(split_answer(text))))


PIECES = [
    "word", " ", "\n", "\n\n", "`", "``", "```", "````", "~~~", "```py\n", "\n```\n", "    ", "\t", "> ", ">", ">>> ",
    "- ", "1. ", "| a | b |\n|---|---|\n| 1 | 2 |\n", "#### ", "---\n", "===\n", "***", "&lt;", "&amp;", "\\",
    "![a](https://b.c)", JOINER, "\r",
]  # fmt: skip
anything = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=30).map("".join)


@given(text=anything)
@example(text="&amp;" * 5 + "lt;")
@example(text="+ - -")
@settings(max_examples=100)
def test_a_second_call_changes_nothing(text: str) -> None:
    once = answer_text(text)
    assert answer_text(once) == once


@given(text=anything)
@settings(max_examples=100)
def test_no_word_is_lost(text: str) -> None:
    after_fences = sum(line.count("word") for line in re.findall("(?:```|~~~).*", text))
    assert answer_text(text).count("word") >= text.count("word") - after_fences


@given(text=anything, times=st.integers(1, 60))
@example(text="```\n```\n", times=235)
@example(text=">>>\n", times=470)
@example(text="`", times=1_890)
@example(text="` `` ", times=370)
@example(text="> ```\na\n", times=230)
@settings(max_examples=100)
def test_a_text_with_room_for_it_stays_within_a_part(text: str, times: int) -> None:
    written = (text * times)[:PART_CHARS]
    assert len(answer_text(written)) <= PART_CHARS


@given(text=anything)
@settings(max_examples=100)
def test_no_fence_is_left_open(text: str) -> None:
    for part in split_answer(text):
        assert "```" not in shown(part)[1]


@given(text=anything, share=st.floats(0, 1), times=st.integers(1, 200))
@example(text="a\n\n    code\n\n" * 3, share=0.5, times=200)
@settings(max_examples=80)
def test_full_parts_stay_as_they_are_while_code_by_indentation_grows(text: str, share: float, times: int) -> None:
    text = (text * times)[:12_000]
    begun = split_answer(text[: int(len(text) * share)])[:-1]
    assert split_answer(text)[: len(begun)] == begun


def test_where_there_is_no_room_code_is_still_one_block() -> None:
    code = "\n".join(["```"] * 470)
    text = answer_text(f"````\n{code}\n````")
    assert len(text) <= PART_CHARS
    [block], _ = shown(text)
    assert block.text.count(LOOKALIKE) == 3 * 470


def test_where_there_is_no_room_nothing_quotes_all_that_follows() -> None:
    text = answer_text(">>> a\n" * 300)
    assert len(text) <= PART_CHARS and not ALL_QUOTED.search(text) and text.count("a") == 300


def test_code_in_a_notice_that_is_cut_has_its_closing_fence() -> None:
    text = notice_text("```py\n" + "line\n" * 900)
    assert text.startswith("```py\nline") and text.endswith("\n```") and len(text) <= PART_CHARS


def test_code_at_the_end_is_left_open_for_what_follows() -> None:
    assert with_fenced_indents("a\n\n    b\n\n") == "a\n\n~~~~~~~\nb"
    assert with_fenced_indents("a\n\n    b\n\n    c\n\nd") == "a\n\n~~~~~~~\nb\n\nc\n~~~~~~~\n\nd"
