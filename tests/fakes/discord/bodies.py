"""What Discord refuses in the body of a message, an embed or a component.

https://discord.com/developers/docs/resources/message#create-message-limitations,
https://discord.com/developers/docs/components/reference
"""

from __future__ import annotations

from typing import Any

from tests.fakes.discord.errors import DiscordError, Json, check_count, check_length, form_error
from tests.fakes.discord.world import COMPONENTS_V2, walk

MAX_CONTENT = 2000
MAX_NONCE = 25
# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
MAX_EMBEDS, MAX_EMBED_CHARS = 10, 6000
MAX_ROWS, MAX_IN_ROW = 5, 5
MAX_V2_COMPONENTS, MAX_V2_CHARS = 40, 4000
MAX_CUSTOM_ID, MAX_LABEL, MAX_OPTIONS = 100, 80, 25
ROW, BUTTON, STRING_SELECT, TEXT_INPUT, TEXT_DISPLAY = 1, 2, 3, 4, 10
SELECTS = {STRING_SELECT, 5, 6, 7, 8}
V2_TOP = {ROW, 9, TEXT_DISPLAY, 12, 13, 14, 17}


def check_content(content: Any) -> str:
    """Return the text as Discord stores it: without the space around it; 50035 over 2,000 characters."""
    if content is None:
        return ""
    check_length("content", content, most=MAX_CONTENT)
    return str(content).strip()


def check_nonce(nonce: Any) -> None:
    """https://discord.com/developers/docs/resources/message#create-message: up to 25 characters."""
    if nonce is not None and not isinstance(nonce, int):
        check_length("nonce", nonce, most=MAX_NONCE)


def check_allowed_mentions(allowed: Any) -> None:
    """https://discord.com/developers/docs/resources/message#allowed-mentions-object"""
    if allowed is None:
        return
    parse: list[str] = allowed.get("parse") or []
    if unknown := set(parse) - {"roles", "users", "everyone"}:
        raise form_error("allowed_mentions.parse", "BASE_TYPE_CHOICES", f"Unknown values {sorted(unknown)}.")
    for what in ("users", "roles"):
        check_count(f"allowed_mentions.{what}", allowed.get(what) or [], most=100)
        if what in parse and allowed.get(what):
            raise form_error(
                "allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", f"parse and {what} exclude each other."
            )


def check_embeds(embeds: Any) -> None:
    """https://discord.com/developers/docs/resources/message#embed-object-embed-limits"""
    check_count("embeds", embeds, most=MAX_EMBEDS)
    total = 0
    for number, embed in enumerate(embeds):
        total += _check_embed(f"embeds.{number}", embed)
    if total > MAX_EMBED_CHARS:
        raise form_error("embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")


def _check_embed(path: str, embed: Json) -> int:
    """Refuse an embed over its limits; return how many characters it counts."""
    fields: list[Json] = embed.get("fields") or []
    check_count(f"{path}.fields", fields, most=25)
    footer: Json = embed.get("footer") or {}
    author: Json = embed.get("author") or {}
    texts: list[tuple[str, str | None, int]] = [
        ("title", embed.get("title"), 256),
        ("description", embed.get("description"), 4096),
        ("footer.text", footer.get("text"), 2048),
        ("author.name", author.get("name"), 256),
    ]
    for number, each in enumerate(fields):
        texts += [(f"fields.{number}.name", each["name"], 256), (f"fields.{number}.value", each["value"], 1024)]
    for name, text, most in texts:
        if text is not None:
            check_length(f"{path}.{name}", text, least=1 if name.startswith("fields") else 0, most=most)
    return sum(len(text) for _, text, _ in texts if text is not None)


def check_components(components: Any, *, flags: int) -> None:
    """Refuse components that a message may not have; `flags` say whether they are Components V2."""
    is_v2 = bool(flags & COMPONENTS_V2)
    check_count("components", components, most=MAX_V2_COMPONENTS if is_v2 else MAX_ROWS)
    allowed = V2_TOP if is_v2 else {ROW}
    for number, each in enumerate(components):
        if each.get("type") not in allowed:
            raise form_error(f"components.{number}.type", "UNION_TYPE_CHOICES", f"Value must be one of {allowed}.")
        _check_component(f"components.{number}", each)
    check_unique_ids(components)
    if is_v2:
        _check_v2(components)


def check_unique_ids(components: list[Json]) -> None:
    ids = [str(each["custom_id"]) for each in walk(components) if "custom_id" in each]
    if len(ids) != len(set(ids)):
        raise form_error("components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")


def _check_v2(components: list[Json]) -> None:
    """https://discord.com/developers/docs/components/reference: 40 components, 4,000 characters shown."""
    everything = list(walk(components))
    if len(everything) > MAX_V2_COMPONENTS:
        raise form_error("components", "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", "At most 40 components.")
    if sum(len(each.get("content", "")) for each in everything if each.get("type") == TEXT_DISPLAY) > MAX_V2_CHARS:
        raise form_error("components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", "At most 4000 characters.")


def _check_component(path: str, each: Json) -> None:
    kind = each.get("type")
    if kind == ROW:
        _check_row(path, each)
    elif kind == BUTTON:
        _check_button(path, each)
    elif kind in SELECTS:
        check_select(path, each)
    elif kind == TEXT_DISPLAY:
        check_length(f"{path}.content", each.get("content"), least=1, most=MAX_V2_CHARS)
    elif kind in {9, 17}:  # section, container
        for number, inner in enumerate(each.get("components", ())):
            _check_component(f"{path}.components.{number}", inner)
        if "accessory" in each:
            _check_component(f"{path}.accessory", each["accessory"])


def _check_row(path: str, row: Json) -> None:
    """https://discord.com/developers/docs/components/reference#action-row: five buttons or one select."""
    inner: list[Json] = row.get("components") or []
    check_count(f"{path}.components", inner, least=1, most=MAX_IN_ROW)
    kinds = {each.get("type") for each in inner}
    if not kinds <= {BUTTON, *SELECTS}:
        raise form_error(f"{path}.components", "UNION_TYPE_CHOICES", "A row takes buttons or one select.")
    if kinds & SELECTS and len(inner) > 1:
        raise form_error(f"{path}.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "A select takes the whole row.")
    for number, each in enumerate(inner):
        _check_component(f"{path}.components.{number}", each)


def _check_button(path: str, button: Json) -> None:
    """https://discord.com/developers/docs/components/reference#button"""
    style = button.get("style")
    if style not in {1, 2, 3, 4, 5, 6}:
        raise form_error(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4, 5, 6).")
    if style == 5:
        check_length(f"{path}.url", button.get("url"), least=1, most=512)
    elif style != 6:
        check_length(f"{path}.custom_id", button.get("custom_id"), least=1, most=MAX_CUSTOM_ID)
    if button.get("label") is not None:
        check_length(f"{path}.label", button["label"], most=MAX_LABEL)
    if not button.get("label") and not button.get("emoji") and style != 6:
        raise form_error(path, "BUTTON_COMPONENT_MISSING_CONTENT", "A button must have a label or an emoji.")


def check_select(path: str, select: Json) -> None:
    """https://discord.com/developers/docs/components/reference#string-select"""
    check_length(f"{path}.custom_id", select.get("custom_id"), least=1, most=MAX_CUSTOM_ID)
    if select.get("placeholder") is not None:
        check_length(f"{path}.placeholder", select["placeholder"], most=150)
    if select["type"] != STRING_SELECT:
        return
    options: list[Json] = select.get("options") or []
    check_count(f"{path}.options", options, least=1, most=MAX_OPTIONS)
    for number, option in enumerate(options):
        for name in ("label", "value"):
            check_length(f"{path}.options.{number}.{name}", option.get(name), least=1, most=100)
        if option.get("description") is not None:
            check_length(f"{path}.options.{number}.description", option["description"], most=100)
    values = [option["value"] for option in options]
    if len(values) != len(set(values)):
        raise form_error(f"{path}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "Option values must differ.")
    most = select.get("max_values", 1)
    if not 0 <= select.get("min_values", 1) <= most <= len(options):
        raise form_error(f"{path}.max_values", "NUMBER_TYPE_MAX", "More values than options.")


def check_fields(body: Json, *, flags: int) -> None:
    """Refuse what is wrong in any field of a message's body, whoever sends it and wherever."""
    check_allowed_mentions(body.get("allowed_mentions"))
    check_embeds(body.get("embeds") or [])
    check_components(body.get("components") or [], flags=flags)
    if flags & COMPONENTS_V2 and (body.get("content") or body.get("embeds") or body.get("poll")):
        raise form_error(
            "content",
            "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            "The 'content' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )


def require_something(*, content: str, others: tuple[Any, ...]) -> None:
    """Refuse an empty message with 50006."""
    if not content and not any(others):
        raise DiscordError(50006)
