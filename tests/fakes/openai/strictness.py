"""What OpenAI and Azure refuse, with errors of the same shape.

Sources: facts that real servers ran into, https://developers.openai.com/api/reference/resources/chat and
https://learn.microsoft.com/azure/ai-foundry/openai/reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from tests.fakes.openai.wire import Wire, as_dict, as_list, read_image

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_TOOLS = 128
MAX_DESCRIPTION_CHARS = 1024
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FLAGGED = "words-that-a-filter-flags"  # anywhere in the prompt
_NOT_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")


_FILTER_MESSAGE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry. To learn more about our content filtering policies please read our documentation: "
    "https://go.microsoft.com/fwlink/?linkid=2198766"
)


class RequestRefusedError(Exception):
    """The request is refused as OpenAI would refuse it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, dict[str, Any]] = {
            "error": {"message": message, "type": kind, "param": param, "code": code}
        }
        self.headers: dict[str, str] = {}


def check_request(body: dict[str, Any], wire: Wire, *, is_lenient: bool) -> None:
    """Raise RequestRefusedError for a request that the real endpoint refuses.

    `is_lenient`: as llama.cpp, Ollama and most local servers, which take any tool and ignore parameters that they do
    not know; what their templates cannot render they refuse too.
    """
    if not is_lenient:
        _check_as_openai(body, wire)
        check_prompt(body, wire)
    wire.check(body)


def _check_as_openai(body: dict[str, Any], wire: Wire) -> None:
    if unknown := [name for name in body if name not in wire.parameters]:
        raise wire.unknown_parameters(unknown)
    tools = as_list(body.get("tools"))
    if len(tools) > MAX_TOOLS:
        text = (
            f"Invalid 'tools': array too long. Expected an array with maximum length {MAX_TOOLS}, "
            f"but got an array with length {len(tools)} instead."
        )
        raise RequestRefusedError(text, param="tools", code="array_above_max_length")
    for at, tool in enumerate(tools):
        _check_tool(wire.tool(as_dict(tool)), f"tools[{at}]{wire.tool_path}")


def check_prompt(body: dict[str, Any], wire: Wire) -> None:
    """Refuse a prompt with flagged words anywhere in it, as Azure's filter does: it reads the whole history each time.

    https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
    """
    if not any(FLAGGED in json.dumps(body.get(name)) for name in wire.prompt_fields):
        return
    refused = RequestRefusedError(_FILTER_MESSAGE, code="content_filter", param="prompt")
    found = {"jailbreak": {"filtered": True, "detected": True}, "hate": {"filtered": False, "severity": "safe"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": found}
    refused.body["error"] |= {"type": None, "status": 400, "innererror": inner}
    raise refused


def _check_tool(tool: Mapping[str, Any], path: str) -> None:
    check_name(tool.get("name"), f"{path}.name")
    length = len(str(tool.get("description") or ""))
    if length > MAX_DESCRIPTION_CHARS:
        text = (
            f"Invalid '{path}.description': string too long. Expected a string with maximum length "
            f"{MAX_DESCRIPTION_CHARS}, but got a string with length {length} instead."
        )
        raise RequestRefusedError(text, param=f"{path}.description", code="string_above_max_length")
    if "parameters" not in tool:
        return
    if fault := fault_of_schema(as_dict(tool["parameters"])):
        text = f"Invalid schema for function '{tool['name']}': {fault}."
        raise RequestRefusedError(text, param=f"{path}.parameters", code="invalid_function_parameters")


def fault_of_schema(schema: Mapping[str, Any]) -> str | None:
    if schema.get("type") != "object":
        got = f'"{schema["type"]}"' if isinstance(schema.get("type"), str) else "None"
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {got}'"
    # The endpoints word these faults as the jsonschema library does: "None is not of type 'object', 'boolean'".
    if fault := best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)):
        return fault.message
    if any(keyword in schema for keyword in _NOT_AT_THE_TOP):
        forbidden = "/".join(f"'{keyword}'" for keyword in _NOT_AT_THE_TOP)
        return f"schema must have type 'object' and not have {forbidden} at the top level"
    for path, inner in _schemas_in(schema):
        types = as_list(inner.get("type"))
        if "object" in types and "properties" not in inner:
            return f"In context={path}, object schema missing properties"
        if "array" in types and "items" not in inner:
            return f"In context={path}, array schema missing items"
    return None


def _schemas_in(
    schema: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield the schema and all that it contains, each with its path."""
    yield path, schema
    for keyword in ("properties", "$defs", "definitions"):
        for name, inner in as_dict(schema.get(keyword)).items():
            yield from _schemas_in(as_dict(inner), (*path, keyword, name))
    for keyword in ("items", "additionalProperties", "not"):
        yield from _schemas_in(as_dict(schema.get(keyword)), (*path, keyword)) if keyword in schema else ()
    for keyword in ("anyOf", "oneOf", "allOf"):
        for at, inner in enumerate(as_list(schema.get(keyword))):
            yield from _schemas_in(as_dict(inner), (*path, keyword, str(at)))


def check_name(name: object, param: str) -> None:
    """Refuse a name of a tool that has other characters, or too many."""
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        text = (
            f"Invalid '{param}': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]{1,64}$'."
        )
        raise RequestRefusedError(text, param=param, code="invalid_value")


def check_parts(content: object, param: str, kinds: Sequence[str]) -> None:
    """Refuse content parts of a kind that only the other protocol knows, and images that cannot be read."""
    parts = [] if isinstance(content, str) else [as_dict(part) for part in as_list(content)]
    for at, part in enumerate(parts):
        if part.get("type") not in kinds:
            text = f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(kinds)}."
            raise RequestRefusedError(text, param=f"{param}[{at}].type", code="invalid_value")
        if "image_url" in part and read_image(part) is None:
            text = "The image is no data URL with base64 in it."
            raise RequestRefusedError(text, param=f"{param}[{at}].image_url", code="invalid_image_url")
