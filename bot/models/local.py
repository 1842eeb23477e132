"""Model servers that run on this machine: Ollama, LM Studio, llama.cpp and vLLM, where they usually listen."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    import httpx2

Kind = Literal["Ollama", "LM Studio", "llama.cpp", "vLLM"]
CONNECT_S = 1.0  # most often nothing listens, which is known at once
ANSWER_S = 2.0  # of a server that listens
_MAX_BYTES = 1_000_000  # of one answer
_MAX_MODELS = 50
_OLLAMA = "127.0.0.1:11434"
# The owners that two of them write into their lists of models: either may be on any port.
_OWNERS: Mapping[str, Kind] = {"vllm": "vLLM", "llamacpp": "llama.cpp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model that a server offers."""

    name: str
    has_tools: bool | None = None  # None: the server does not say
    context_tokens: int | None = None  # as the server runs it; None: it does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server that answers; `models` are those that may support tools, the ones that say so first."""

    kind: Kind
    url: str  # as OPENAI_BASE_URL
    models: tuple[LocalModel, ...]
    without_tools: int = 0  # how many more models it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server may listen."""

    kind: Kind
    address: str  # host:port


def usual_places(environ: Mapping[str, str]) -> Sequence[Place]:
    """Return where these servers listen unless they are told otherwise; Ollama's own OLLAMA_HOST counts.

    https://docs.ollama.com/faq, https://lmstudio.ai/docs/developer/core/server,
    https://github.com/ggml-org/llama.cpp/tree/master/tools/server, https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    """
    return (
        Place(kind="Ollama", address=_ollama_address(environ.get("OLLAMA_HOST", ""))),
        Place(kind="LM Studio", address="127.0.0.1:1234"),
        Place(kind="llama.cpp", address="127.0.0.1:8080"),
        Place(kind="vLLM", address="127.0.0.1:8000"),
    )


def _ollama_address(written: str) -> str:
    """Return where OLLAMA_HOST leads; an address for all interfaces is one to listen on, not to go to."""
    found = re.fullmatch(r"(?:http://)?(\[[0-9a-fA-F:]+\]|[^:/\s]*)(?::(\d{1,5}))?/?", written.strip())
    if found is None:
        return _OLLAMA
    host = found[1] if found[1] not in ("", "0.0.0.0", "[::]") else "127.0.0.1"  # noqa: S104
    return f"{host}:{found[2] or '11434'}"


async def find_local(places: Sequence[Place]) -> Sequence[LocalServer]:
    """Return the servers that answer with a model within two seconds, all asked at once, in the order of the places."""
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_look(place)) for place in places]
    return [server for task in asked if (server := task.result()) is not None and server.models]


async def context_of_ollama(url: str, model: str) -> int | None:
    """Return how many tokens of context Ollama has loaded the model with; None where it does not say.

    https://docs.ollama.com/api/ps
    """
    import httpx2

    try:
        async with asyncio.timeout(ANSWER_S), _client(url.removesuffix("/v1")) as client:
            loaded = _objects(_object(await _json(client, "GET", "/api/ps")).get("models"))
    except (OSError, ValueError, RecursionError, httpx2.HTTPError):
        return None
    return next((_count(each.get("context_length")) for each in loaded if each.get("name") == model), None)


async def _look(place: Place) -> LocalServer | None:
    try:
        if not await _listens(place.address):
            return None
        await asyncio.to_thread(import_module, "httpx2")  # before its time begins: this can take longer than the answer
        async with asyncio.timeout(ANSWER_S):
            return await _ask(place)
    except (OSError, ValueError, RecursionError):  # TimeoutError is an OSError
        return None


async def _listens(address: str) -> bool:
    """Return whether something listens there: most often nothing does, and no HTTP client has to be imported."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, OverflowError):
        return False
    writer.close()
    return True


async def _ask(place: Place) -> LocalServer | None:
    import httpx2

    kind, url = place.kind, f"http://{place.address}"
    try:
        async with _client(url) as client:
            if kind == "Ollama":
                models = await _of_ollama(client)
            elif kind == "LM Studio":
                models = await _of_lm_studio(client)
            else:
                kind, models = await _of_others(client, kind)
    except httpx2.HTTPError:
        return None
    usable = sorted((model for model in models if model.has_tools is not False), key=lambda each: not each.has_tools)
    return LocalServer(kind=kind, url=f"{url}/v1", models=tuple(usable), without_tools=len(models) - len(usable))


def _client(url: str) -> httpx2.AsyncClient:
    import httpx2

    return httpx2.AsyncClient(base_url=url, trust_env=False, timeout=ANSWER_S)


async def _of_ollama(client: httpx2.AsyncClient) -> Sequence[LocalModel]:
    """https://docs.ollama.com/api/tags, https://docs.ollama.com/api-reference/show-model-details"""
    listed = _objects(_object(await _json(client, "GET", "/api/tags")).get("models"))
    names = [name for each in listed if (name := _name(each.get("name")))][:_MAX_MODELS]
    shown = await asyncio.gather(*(_json(client, "POST", "/api/show", {"model": name}) for name in names))
    return [
        LocalModel(name=name, has_tools=_has(_object(about).get("capabilities"), "tools"))
        for name, about in zip(names, shown, strict=True)
    ]


async def _of_lm_studio(client: httpx2.AsyncClient) -> Sequence[LocalModel]:
    """https://lmstudio.ai/docs/developer/rest/endpoints; models of other kinds embed."""
    listed = _objects(_object(await _json(client, "GET", "/api/v0/models")).get("data"))
    return [
        LocalModel(
            name=name,
            has_tools=_has(each.get("capabilities"), "tool_use"),
            context_tokens=_count(each.get("loaded_context_length")),
        )
        for each in listed[:_MAX_MODELS]
        if (name := _name(each.get("id"))) and each.get("type") in ("llm", "vlm")
    ]


async def _of_others(client: httpx2.AsyncClient, kind: Kind) -> tuple[Kind, Sequence[LocalModel]]:
    """What vLLM and llama.cpp list; whether vLLM parses tool calls is known only by an attempt."""
    listed = _objects(_object(await _json(client, "GET", "/v1/models")).get("data"))
    kind = _kind(listed, usual=kind)
    has_tools, context = await _props(client) if kind == "llama.cpp" else (None, None)
    return kind, [
        LocalModel(name=name, has_tools=has_tools, context_tokens=_count(each.get("max_model_len")) or context)
        for each in listed[:_MAX_MODELS]
        if (name := _name(each.get("id")))
    ]


def _kind(listed: Sequence[Mapping[str, object]], *, usual: Kind) -> Kind:
    for each in listed:
        if (named := _OWNERS.get(str(each.get("owned_by")))) is not None:
            return named
    return usual


async def _props(client: httpx2.AsyncClient) -> tuple[bool | None, int | None]:
    """What llama.cpp says of its chat template and its context: its README, GET /props."""
    try:
        about = _object(await _json(client, "GET", "/props"))
    except ValueError:  # it can be switched off
        return None, None
    said = _object(about.get("chat_template_caps")).get("supports_tool_calls")
    context = _count(_object(about.get("default_generation_settings")).get("n_ctx"))
    return said if isinstance(said, bool) else None, context


async def _json(client: httpx2.AsyncClient, method: str, path: str, body: object = None) -> object:
    """Return the answer. Raises ValueError where it is none, or too long."""
    data = bytearray()
    async with client.stream(method, path, json=body) as answer:
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}")
        async for chunk in answer.aiter_bytes():
            data += chunk
            if len(data) > _MAX_BYTES:
                raise ValueError("too long")
    return json.loads(data)


def _object(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _objects(value: object) -> Sequence[Mapping[str, object]]:
    items = cast("Sequence[object]", value) if isinstance(value, list) else ()
    return [_object(item) for item in items]


def _name(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 200 else ""


def _has(listed: object, wanted: str) -> bool | None:
    return wanted in cast("list[object]", listed) if isinstance(listed, list) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
