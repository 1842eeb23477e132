"""What both protocols share: the reply on its way out, and reading and writing of JSON."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from bot.domain.messages import Attachment, Message, ToolCall, Usage
from bot.models.rehearsal.usage import count_tokens

MODEL_NAME = "rehearsal"
DATA_URL = re.compile(r"data:(?P<type>image/[a-z]+);base64,(?P<data>[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer on its way out; the arguments of its calls are JSON unless a fault or a script wants otherwise."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    is_filtered: bool = False
    usage: Usage = field(default_factory=Usage)

    @property
    def output_tokens(self) -> int:
        return count_tokens(self.text) + sum(count_tokens(call.name + call.arguments) for call in self.calls)


class Wire(Protocol):
    """One of the two protocols."""

    @property
    def parameters(self) -> Set[str]:
        """The request parameters that the endpoint knows."""
        ...

    @property
    def prompt_fields(self) -> tuple[str, ...]:
        """The parameters that make up the prompt, in the order in which a prompt cache sees them."""
        ...

    @property
    def image_part(self) -> str:
        """The type of a content part that is an image."""
        ...

    @property
    def tool_path(self) -> str:
        """Where in a tool its name and schema are, as errors write it: empty, or `.function`."""
        ...

    def unknown_parameters(self, names: list[str]) -> Exception:
        """Return the error for parameters that the endpoint does not know."""
        ...

    def check(self, body: dict[str, Any]) -> None:
        """Raise RequestRefusedError for messages that the endpoint refuses, or options that do not go together."""
        ...

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a tool that has its name, description and parameters."""
        ...

    def messages(self, body: dict[str, Any]) -> list[Message]:
        """Return the request's messages, without the system's."""
        ...

    def whole(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response of a request that does not stream."""
        ...

    def stream(self, reply: Reply, body: dict[str, Any], *, is_azure: bool) -> tuple[list[bytes], list[bytes]]:
        """Return the events of a stream: the content, and what ends it."""
        ...


def as_dict(value: object) -> dict[str, Any]:
    """Return a JSON object, and anything else as an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return a list as it is, nothing as an empty one, and anything else as the only item."""
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


def text_in(content: object) -> str:
    """Return the text of a content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(str(as_dict(part).get("text") or "") for part in as_list(content))


def images_in(content: object) -> tuple[Attachment, ...]:
    """Return the images among the parts of a content."""
    parts = [as_dict(part) for part in as_list(content)]
    images = [read_image(part) for part in parts if "image_url" in part]
    return tuple(image for image in images if image)


def read_image(part: Mapping[str, Any]) -> Attachment | None:
    """Return the image in a part; None if its URL is not a data URL with base64 in it."""
    url: object = part["image_url"]
    found = DATA_URL.fullmatch(str(as_dict(url).get("url") or url))  # Chat Completions wraps it in an object
    try:
        return Attachment(name="", mime_type=found["type"], data=base64.b64decode(found["data"])) if found else None
    except ValueError:
        return None


def argument_pieces(arguments: str) -> list[str]:
    """Split the arguments of a call as an endpoint streams them."""
    return [arguments[at : at + 16] for at in range(0, len(arguments), 16)]


def write_event(data: Mapping[str, Any]) -> bytes:
    """Return a server-sent event; those of the Responses API have their type in the event line too."""
    head = f"event: {data['type']}\n" if "type" in data else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()
