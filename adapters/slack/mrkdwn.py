"""Markdown in Slack's own format, mrkdwn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from bot.text.moments import SCHEME
from bot.text.split import ELLIPSIS

WORD_JOINER = "\u2060"
_ASTERISK, _GRAVE, _LOW_LINE, _TILDE = "\u2217", "\u02cb", "\u02cd", "\u223c"  # look like the characters that format


_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
_MARKDOWN.parse("a")  # makes its tables of rules now, once: threads share them


_EMPHASIS = {"strong": "*", "em": "_", "s": "~"}


def to_mrkdwn(markdown: str) -> str:
    """Return Markdown in Slack's own markup: https://docs.slack.dev/messaging/formatting-message-text"""
    root = SyntaxTreeNode(_MARKDOWN.parse(markdown))
    return _blocks(root.children, source=markdown.split("\n"))


def _blocks(nodes: Iterable[SyntaxTreeNode], *, source: Sequence[str], between: str = "\n\n") -> str:
    return between.join(filter(None, (_block(node, source=source) for node in nodes)))


def _block(node: SyntaxTreeNode, *, source: Sequence[str]) -> str:
    match node.type:
        case "paragraph":
            return _inline(node.children)
        case "heading":
            text = _inline(node.children, is_bold=True)
            return f"*{text}*" if text.strip() else ""
        case "bullet_list" | "ordered_list":
            return _list(node, source=source)
        case "blockquote":
            return _prefixed(_blocks(node.children, source=source), first="> ", others="> ")
        case "fence" | "code_block":
            return _code(node.content)
        case "table":
            first, last = node.map or (0, 0)
            return _code("\n".join(source[first:last]))
        case "hr":
            return "———"
        case _:
            return _escaped(node.content)


def _list(node: SyntaxTreeNode, *, source: Sequence[str]) -> str:
    start = int(node.attrs.get("start", 1))
    is_numbered = node.type == "ordered_list"
    items: list[str] = []
    for number, item in enumerate(node.children, start=start):
        first = f"{number}. " if is_numbered else "• "
        items.append(_prefixed(_blocks(item.children, source=source, between="\n"), first=first, others="    "))
    return "\n".join(items)


def _prefixed(text: str, *, first: str, others: str) -> str:
    return first + text.replace("\n", f"\n{others}")


def _code(content: str) -> str:
    shown = _escaped(content.rstrip("\n")).replace("```", f"`{WORD_JOINER}`{WORD_JOINER}`")
    return f"```\n{shown}\n```"


def _inline(nodes: Iterable[SyntaxTreeNode], *, is_bold: bool = False) -> str:
    return "".join(_span(node, is_bold=is_bold) for node in nodes)


def _span(node: SyntaxTreeNode, *, is_bold: bool) -> str:
    match node.type:
        case "text":
            return _escaped(unformatted(node.content))
        case "softbreak" | "hardbreak":
            return "\n"
        case "code_inline":
            code = node.content.replace("`", _GRAVE)
            return f"`{_escaped(code)}`" if code.strip() else ""
        case "strong" | "em" | "s":
            sign = "" if is_bold and node.type == "strong" else _EMPHASIS[node.type]
            return f"{sign}{_inline(node.children, is_bold=is_bold or node.type == 'strong')}{sign}"
        case "link":
            return _link(node, is_bold=is_bold)
        case "image":
            return _escaped(unformatted(node.content))
        case _:
            return _inline(node.children, is_bold=is_bold)


def _link(node: SyntaxTreeNode, *, is_bold: bool) -> str:
    url = str(node.attrs.get("href", ""))
    text = _inline(node.children, is_bold=is_bold)
    if moment := re.fullmatch(rf"{SCHEME}([0-9]{{1,12}})", url):
        # https://docs.slack.dev/messaging/formatting-message-text#date-formatting
        # Not date_short_pretty: our sentences say "on", and that writes "tomorrow" in place of a near date.
        return f"<!date^{moment[1]}^{{date_short}} at {{time}}|{text.replace('|', '¦')}>"
    if not re.match(r"(?:https?://|mailto:)", url):
        return text
    safe = _escaped(url.replace("|", "%7C").replace("<", "%3C").replace(">", "%3E"))
    return f"<{safe}|{text.replace('|', '¦').replace(chr(10), ' ') or safe}>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fitting(text: str, max_chars: int) -> str:
    """Return the text escaped, cut so that it fits in its escaped form."""
    escaped = _escaped(text[:max_chars])
    if len(escaped) <= max_chars and len(text) <= max_chars:
        return escaped
    # A marker within a word formats nothing; at the end of a word it might.
    return re.sub(r"&[a-z]*$", "", escaped[: max_chars - 1]).rstrip(" _~") + ELLIPSIS


def unformatted(text: str) -> str:
    """Return the text with look-alikes for formatting characters, which mrkdwn cannot escape."""
    text = text.replace("*", _ASTERISK).replace("`", _GRAVE)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", _LOW_LINE, text)
    return re.sub(r"(?<!\w)~(?=\S)|(?<=\S)~(?!\w)", _TILDE, text)
