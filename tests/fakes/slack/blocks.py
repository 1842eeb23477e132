"""Block Kit: what Slack refuses, what a person reads, what can be pressed.

Limits are those of https://docs.slack.dev/reference/block-kit/blocks and the page of each block and element below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

Json = dict[str, Any]
Surface = Literal["message", "modal", "home"]

MAX_BLOCKS = {"message": 50, "modal": 100, "home": 100}  # https://docs.slack.dev/reference/block-kit/blocks
MAX_MARKDOWN_CHARS = 12_000  # all of a payload: https://docs.slack.dev/reference/block-kit/blocks/markdown-block
MAX_TOTAL_CHARS = 13_200  # of one message: https://github.com/slackapi/bolt-js/issues/2509 (msg_blocks_too_long)
MAX_ID_CHARS = 255
MAX_TABLE_CHARS = 10_000  # https://docs.slack.dev/reference/block-kit/blocks/table-block
ANYWHERE = {"section", "header", "context", "actions", "divider", "image", "input", "rich_text", "video"}
MESSAGES_ONLY = {"markdown", "context_actions", "table", "file", "plan", "task_card"}
INPUTS = {
    "plain_text_input",
    "email_text_input",
    "url_text_input",
    "number_input",
    "datepicker",
    "timepicker",
    "datetimepicker",
    "rich_text_input",
    "file_input",
}
SELECTS = {"static_select", "multi_static_select", "radio_buttons", "checkboxes", "overflow"}
OTHER_SELECTS = {
    f"{many}{kind}_select" for many in ("", "multi_") for kind in ("users", "conversations", "channels", "external")
}
MAX_OPTIONS = {"radio_buttons": 10, "checkboxes": 10, "overflow": 5}  # selects: 100
INTERACTIVE = {"button", "feedback_buttons", "icon_button", "workflow_button"} | SELECTS | OTHER_SELECTS | INPUTS


def as_object(value: Any) -> Json | None:
    """Return the value if it is a JSON object."""
    return cast(Json, value) if isinstance(value, dict) else None


def as_objects(value: Any) -> list[Json] | None:
    """Return the value if it is a list of JSON objects."""
    if not isinstance(value, list):
        return None
    objects = [as_object(each) for each in cast(list[Any], value)]
    found = [each for each in objects if each is not None]
    return found if len(found) == len(objects) else None


class BlockError(Exception):
    """Slack refuses these blocks; `problems` are sentences with a JSON pointer each."""

    def __init__(self, problems: list[str], code: str = "invalid_blocks") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.code = code


def check_blocks(blocks: Any, *, surface: Surface = "message") -> None:
    """Refuse what Slack would refuse on that surface.

    Raises:
        BlockError: Not a list of valid blocks within their limits.
    """
    if (found := as_objects(blocks)) is None:
        raise BlockError(["blocks must be a list of objects"], "invalid_blocks_format")
    check = _Check(surface)
    check.all(found)
    if check.problems:
        raise BlockError(check.problems)
    if surface == "message" and len(all_text(found)) > MAX_TOTAL_CHARS:
        raise BlockError(["the text of all blocks together is too long"], "msg_blocks_too_long")


def elements_of(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Yield each interactive element with its block."""
    for block in blocks:
        for each in [block.get("accessory"), block.get("element"), *(block.get("elements") or list[Json]())]:
            if (element := as_object(each)) and element.get("type") in INTERACTIVE:
                yield block, element


def with_ids(blocks: list[Json], new_id: Callable[[str], str]) -> list[Json]:
    """Return the blocks as Slack keeps them: with the ids that it makes up where there are none."""
    kept: list[Json] = []
    for block in blocks:
        copy: Json = {"block_id": new_id("b"), **block}
        if elements := as_objects(copy.get("elements")):
            copy["elements"] = [_with_action_id(element, new_id) for element in elements]
        for place in ("accessory", "element"):
            if place in copy:
                copy[place] = _with_action_id(copy[place], new_id)
        kept.append(copy)
    return kept


def _with_action_id(element: Json, new_id: Callable[[str], str]) -> Json:
    return {"action_id": new_id("a"), **element} if element.get("type") in INTERACTIVE else element


def readable_text(blocks: list[Json]) -> str:
    """Return what a person reads in the blocks, without the labels of what can be pressed."""
    return "\n\n".join(text for block in blocks if (text := _block_text(block)))


def all_text(blocks: list[Json]) -> str:
    """Return every text of the blocks, labels included."""
    return "".join(_texts(blocks))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for each in cast(list[Any], node):
            yield from _texts(each)
    elif found := as_object(node):
        for key, value in found.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)


def _block_text(block: Json) -> str:
    match block["type"]:
        case "markdown":
            return block["text"]
        case "section":
            parts = [block.get("text"), *block.get("fields", [])]
            return "\n".join(part["text"] for part in parts if part)
        case "header":
            return block["text"]["text"]
        case "context":
            return " ".join(part["text"] for part in block["elements"] if "text" in part)
        case "rich_text" | "table":
            return all_text([block])
        case "input":
            return block["label"]["text"]
        case _:
            return ""


class _Check:
    """Gathers the problems of one payload."""

    def __init__(self, surface: Surface) -> None:
        self.surface: Surface = surface
        self.problems: list[str] = []

    def all(self, blocks: list[Json]) -> None:
        if len(blocks) > MAX_BLOCKS[self.surface]:
            self.refuse("/blocks", f"no more than {MAX_BLOCKS[self.surface]} items allowed")
        ids = [block["block_id"] for block in blocks if block.get("block_id")]
        if len(ids) != len(set(ids)):
            self.refuse("/blocks", "block_id must be unique")
        for index, block in enumerate(blocks):
            self.block(block, f"/blocks/{index}")
        markdown = sum(len(block["text"]) for block in blocks if _is_markdown(block))
        if markdown > MAX_MARKDOWN_CHARS:
            self.refuse("/blocks", f"markdown blocks: {markdown} characters, at most {MAX_MARKDOWN_CHARS} allowed")
        if sum(block.get("type") == "table" for block in blocks) > 1:
            self.refuse("/blocks", "only_one_table_allowed")

    def refuse(self, where: str, why: str) -> None:
        self.problems.append(f"[ERROR] {why} [json-pointer:{where}]")

    def block(self, block: Json, where: str) -> None:
        kind = block.get("type")
        allowed = ANYWHERE | (MESSAGES_ONLY if self.surface == "message" else set[str]())
        if kind not in allowed:
            self.refuse(where, f"unsupported type: {kind}")
            return
        self.string(block, "block_id", where, limit=MAX_ID_CHARS, required=False)
        rule = getattr(self, f"block_{kind}", None)
        if rule is not None:
            rule(block, where)
        actions = [element["action_id"] for _, element in elements_of([block]) if element.get("action_id")]
        if len(actions) != len(set(actions)):
            self.refuse(where, "action_id must be unique within a block")

    # --- one rule a block type, each with its page under https://docs.slack.dev/reference/block-kit/blocks/

    def block_markdown(self, block: Json, where: str) -> None:  # .../markdown-block
        self.string(block, "text", where, limit=MAX_MARKDOWN_CHARS)

    def block_section(self, block: Json, where: str) -> None:  # .../section-block
        if "text" not in block and not block.get("fields"):
            self.refuse(where, "a section needs text or fields")
        if "text" in block:
            self.text(block["text"], f"{where}/text", limit=3_000)
        fields = block.get("fields", [])
        if len(fields) > 10:
            self.refuse(f"{where}/fields", "no more than 10 items allowed")
        for index, each in enumerate(fields):
            self.text(each, f"{where}/fields/{index}", limit=2_000)
        if "accessory" in block:
            self.element(block["accessory"], f"{where}/accessory")

    def block_header(self, block: Json, where: str) -> None:  # .../header-block
        self.text(block.get("text"), f"{where}/text", limit=150, plain=True)

    def block_context(self, block: Json, where: str) -> None:  # .../context-block
        for index, element in enumerate(self.items(block, where, most=10)):
            place = f"{where}/elements/{index}"
            if element.get("type") == "image":
                self.image(element, place)
            else:
                self.text(element, place, limit=3_000)

    def block_actions(self, block: Json, where: str) -> None:  # .../actions-block
        for index, element in enumerate(self.items(block, where, most=25)):
            self.element(element, f"{where}/elements/{index}")

    def block_context_actions(self, block: Json, where: str) -> None:  # .../context-actions-block
        for index, element in enumerate(self.items(block, where, most=5)):
            if element.get("type") not in {"feedback_buttons", "icon_button"}:
                self.refuse(f"{where}/elements/{index}", f"unsupported type: {element.get('type')}")
            self.element(element, f"{where}/elements/{index}")

    def block_image(self, block: Json, where: str) -> None:  # .../image-block
        self.image(block, where)

    def block_input(self, block: Json, where: str) -> None:  # .../input-block
        self.text(block.get("label"), f"{where}/label", limit=2_000, plain=True)
        if "hint" in block:
            self.text(block["hint"], f"{where}/hint", limit=2_000, plain=True)
        if block.get("element", {}).get("type") in {None, "button", "feedback_buttons", "icon_button", "overflow"}:
            self.refuse(f"{where}/element", "an input needs an input element")
        else:
            self.element(block["element"], f"{where}/element")

    def block_table(self, block: Json, where: str) -> None:  # .../table-block
        rows: Any = block.get("rows")
        if not isinstance(rows, list) or not 1 <= len(cast(list[Any], rows)) <= 100:
            self.refuse(f"{where}/rows", "a table has 1 to 100 rows")
            return
        cells = [as_objects(row) for row in cast(list[Any], rows)]
        if any(row is None or len(row) > 20 for row in cells):
            self.refuse(f"{where}/rows", "a row has at most 20 cells")
        if len(all_text([block])) > MAX_TABLE_CHARS:
            self.refuse(f"{where}/rows", f"at most {MAX_TABLE_CHARS} characters in a table")

    # --- elements and composition objects

    def items(self, block: Json, where: str, *, most: int) -> list[Json]:
        elements = as_objects(block.get("elements"))
        if not elements:
            self.refuse(f"{where}/elements", "must be a list of at least 1 element")
            return []
        if len(elements) > most:
            self.refuse(f"{where}/elements", f"no more than {most} items allowed")
        return elements

    def string(self, node: Json, name: str, where: str, *, limit: int, required: bool = True) -> None:
        value = node.get(name)
        if value is None and not required:
            return
        if not isinstance(value, str) or not value:
            self.refuse(f"{where}/{name}", "must be a string of at least 1 character")
        elif len(value) > limit:
            self.refuse(f"{where}/{name}", f"must be less than {limit + 1} characters")

    def text(self, node: Any, where: str, *, limit: int, plain: bool = False) -> None:
        """https://docs.slack.dev/reference/block-kit/composition-objects/text-object."""
        kinds = {"plain_text"} if plain else {"plain_text", "mrkdwn"}
        found = as_object(node)
        if found is None or found.get("type") not in kinds:
            self.refuse(where, f"must be a text object of type {' or '.join(sorted(kinds))}")
            return
        if found["type"] == "mrkdwn" and "emoji" in found:
            self.refuse(where, "emoji is for plain_text only")
        self.string(found, "text", where, limit=limit)

    def image(self, node: Json, where: str) -> None:
        if "image_url" not in node and "slack_file" not in node:
            self.refuse(where, "an image needs image_url or slack_file")
        self.string(node, "image_url", where, limit=3_000, required=False)
        self.string(node, "alt_text", where, limit=2_000)

    def element(self, given: Any, where: str) -> None:
        """https://docs.slack.dev/reference/block-kit/block-elements."""
        element = as_object(given)
        if element is None:
            self.refuse(where, "must be an object")
            return
        kind = element.get("type")
        if kind == "image":
            self.image(element, where)
            return
        if kind not in INTERACTIVE:
            self.refuse(where, f"unsupported type: {kind}")
            return
        self.string(element, "action_id", where, limit=MAX_ID_CHARS, required=False)
        if kind == "button":
            self.button(element, where)
        elif kind == "feedback_buttons":
            for side in ("positive_button", "negative_button"):
                self.button(as_object(element.get(side)) or Json(), f"{where}/{side}", value_required=True)
        elif kind == "icon_button":
            self.text(element.get("text"), f"{where}/text", limit=75, plain=True)
        elif kind in SELECTS:
            self.select(element, where)
        else:
            self.input(element, where)

    def button(self, button: Json, where: str, *, value_required: bool = False) -> None:
        """https://docs.slack.dev/reference/block-kit/block-elements/button-element."""
        self.text(button.get("text"), f"{where}/text", limit=75, plain=True)
        self.string(button, "value", where, limit=2_000, required=value_required)
        self.string(button, "url", where, limit=3_000, required=False)
        self.string(button, "accessibility_label", where, limit=75, required=False)
        if button.get("style") not in {None, "primary", "danger"}:
            self.refuse(f"{where}/style", "must be primary or danger")

    def input(self, element: Json, where: str) -> None:
        """https://docs.slack.dev/reference/block-kit/block-elements: plain-text, number and date inputs."""
        if "placeholder" in element:
            self.text(element["placeholder"], f"{where}/placeholder", limit=150, plain=True)
        kind = element["type"]
        if kind in {"plain_text_input", "number_input"} and "initial_value" in element:
            self.string(element, "initial_value", where, limit=3_000)
        for name in ("min_length", "max_length"):
            if name in element and not 0 <= element[name] <= 3_000:
                self.refuse(f"{where}/{name}", "must be between 0 and 3000")
        if kind == "number_input":
            number = r"-?\d+(\.\d+)?" if element.get("is_decimal_allowed") else r"-?\d+"
            if not isinstance(element.get("is_decimal_allowed"), bool):
                self.refuse(f"{where}/is_decimal_allowed", "must be a boolean")
            if not re.fullmatch(number, element.get("initial_value", "0")):
                self.refuse(f"{where}/initial_value", "must be a number")
        if kind == "datepicker" and not re.fullmatch(r"\d{4}-\d\d-\d\d", element.get("initial_date", "2026-01-01")):
            self.refuse(f"{where}/initial_date", "must be YYYY-MM-DD")

    def select(self, element: Json, where: str) -> None:
        """https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element."""
        if "placeholder" in element:
            self.text(element["placeholder"], f"{where}/placeholder", limit=150, plain=True)
        if "options" in element and "option_groups" in element:
            self.refuse(where, "options and option_groups exclude each other")
        groups = as_objects(element.get("option_groups")) or [element]
        if len(groups) > 100:
            self.refuse(f"{where}/option_groups", "no more than 100 items allowed")
        options: list[Json] = []
        for group in groups:
            found = as_objects(group.get("options")) or []
            if not 1 <= len(found) <= MAX_OPTIONS.get(element["type"], 100):
                self.refuse(f"{where}/options", "too few or too many options")
            if group is not element:
                self.text(group.get("label"), f"{where}/option_groups/label", limit=75, plain=True)
            options += found
        for index, option in enumerate(options):
            self.option(option, f"{where}/options/{index}")
        if len({option.get("value") for option in options}) < len(options):
            self.refuse(f"{where}/options", "values must be unique")
        initial = [element["initial_option"]] if "initial_option" in element else element.get("initial_options", [])
        if "initial_options" in element and not initial:
            self.refuse(f"{where}/initial_options", "must have at least 1 item")
        if any(option not in options for option in initial):
            self.refuse(f"{where}/initial_option", "must be one of the options")
        if not element.get("max_selected_items", 1) >= 1:
            self.refuse(f"{where}/max_selected_items", "must be at least 1")

    def option(self, option: Json, where: str) -> None:
        """https://docs.slack.dev/reference/block-kit/composition-objects/option-object."""
        self.text(option.get("text"), f"{where}/text", limit=75)
        self.string(option, "value", where, limit=150)
        if "description" in option:
            self.text(option["description"], f"{where}/description", limit=75)


def check_view(given: Any) -> None:
    """Refuse what Slack would refuse of a view: https://docs.slack.dev/reference/views/modal-views.

    Raises:
        BlockError: With Slack's code: `invalid_arguments` of the view's fields, `invalid_blocks` of its blocks.
    """
    view = as_object(given)
    if view is None or view.get("type") not in {"modal", "home"}:
        raise BlockError(["view must be an object of type modal or home"], "invalid_arguments")
    check = _Check(view["type"])
    if view["type"] == "modal":
        check.text(view.get("title"), "/view/title", limit=24, plain=True)
        for name in ("submit", "close"):
            if name in view:
                check.text(view[name], f"/view/{name}", limit=24, plain=True)
    if len(view.get("private_metadata") or "") > 3_000:
        check.refuse("/view/private_metadata", "must be less than 3001 characters")
    check.string(view, "callback_id", "/view", limit=MAX_ID_CHARS, required=False)
    if check.problems:
        raise BlockError(check.problems, "invalid_arguments")
    check_blocks(view.get("blocks"), surface=view["type"])
    has_input = any(block["type"] == "input" for block in view["blocks"])
    if view["type"] == "modal" and has_input and "submit" not in view:
        raise BlockError(["submit is required when there are input blocks"], "invalid_arguments")


def _is_markdown(block: Json) -> bool:
    return block.get("type") == "markdown" and isinstance(block.get("text"), str)
