"""What a person does with the inputs of a modal: the state that Slack's client then sends.

https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload and the page of each element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def filled_in(blocks: list[Json], values: Mapping[str, Any]) -> Json:
    """Return the state of the inputs once those with these labels hold these values; options go by their texts.

    Raises:
        AssertionError: Slack's client would not take that: no such input or option, or nothing where it is required.
    """
    inputs = [block for block in blocks if block["type"] == "input"]
    labels = [block["label"]["text"] for block in inputs]
    assert set(values) <= set(labels), f"there is no input {set(values) - set(labels)} among {labels}"
    state: Json = {}
    for block in inputs:
        element, label = block["element"], block["label"]["text"]
        held = _held(element, values[label]) if label in values else _initial(element)
        is_empty = not any(value for name, value in held.items() if name != "type")
        assert block.get("optional") or not is_empty, f"{label} is required"
        state[block["block_id"]] = {element["action_id"]: held}
    return state


def _initial(element: Json) -> Json:
    kind = element["type"]
    match kind:
        case "checkboxes" | "multi_static_select":
            return {"type": kind, "selected_options": element.get("initial_options", [])}
        case "static_select" | "radio_buttons":
            return {"type": kind, "selected_option": element.get("initial_option")}
        case "datepicker":
            return {"type": kind, "selected_date": element.get("initial_date")}
        case _:
            return {"type": kind, "value": element.get("initial_value")}


def _held(element: Json, value: Any) -> Json:
    kind = element["type"]
    match kind:
        case "checkboxes" | "multi_static_select":
            assert len(value) <= element.get("max_selected_items", len(value)), "too many are chosen"
            return {"type": kind, "selected_options": [_option(element, text) for text in value]}
        case "static_select" | "radio_buttons":
            return {"type": kind, "selected_option": _option(element, value)}
        case "datepicker":
            return {"type": kind, "selected_date": value or None}
        case _:
            least, most = element.get("min_length", 0), element.get("max_length", 3_000)
            assert not value or least <= len(value) <= most, f"{len(value)} characters, {least} to {most} allowed"
            return {"type": kind, "value": value or None}


def _option(element: Json, text: str) -> Json:
    groups = element.get("option_groups") or [element]
    found = [each for group in groups for each in group["options"] if each["text"]["text"] == text]
    assert found, f"there is no option {text}"
    return found[0]
