"""The loopback Discord as a server: routes, authentication, rate limits, faults on request, the record of calls."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from aiohttp import BodyPartReader, web

from tests.fakes.discord import app_routes, channel_routes, interaction_routes
from tests.fakes.discord.errors import DiscordError, Json
from tests.fakes.discord.people import People
from tests.fakes.discord.replies import Body, SentFile
from tests.fakes.discord.routes import Request, Route
from tests.fakes.discord.world import Call

ROUTES = (*app_routes.ROUTES, *channel_routes.ROUTES, *interaction_routes.ROUTES)
ATTACHMENT = Route("attachment", "GET", "/attachments", app_routes.get_gateway, needs_token=False)
NAMES = {route.name for route in ROUTES} | {ATTACHMENT.name, "*"}
MAX_BODY_BYTES = 64 * 1024 * 1024  # larger than Discord takes, so that the refusal is the fake's own
VIA = {"Via": "1.1 google"}  # Discord's own answers come through its proxy; Cloudflare's do not
MAJOR = ("channel", "guild", "application", "interaction")  # https://discord.com/developers/docs/topics/rate-limits


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call as a refusal looks at it."""

    channel: int
    text: str
    has_files: bool


@dataclass(kw_only=True)
class Fault:
    """What is to happen to the next calls of a route."""

    times: int
    kind: Literal["limit", "cloudflare", "status", "code", "drop", "hang"]
    retry_after_s: float = 0.0
    scope: Literal["user", "global", "shared"] = "user"
    has_via: bool = True
    status: int = 0
    code: int = 0
    drop: Literal["", "before", "after"] = ""
    answer: Any = None  # JSON, in place of a page
    where: Callable[[Asked], bool] = lambda _: True  # other calls pass it by


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What Discord refuses until that is lifted."""

    routes: tuple[str, ...]
    fault: Fault
    where: Callable[[Asked], bool]


@dataclass(kw_only=True)
class Bucket:
    """How many calls are left in the running window of a route and its major parameter."""

    left: int
    ends_at: float


class FakeDiscord(People):
    """A Discord on loopback for the real, unpatched library; `async with FakeDiscord() as discord_` serves it.

    Its token is `token` (bot-test), the bot's user is `bot`. Point discord.py at it by
    `discord.http.Route.BASE = discord_.api_url` and
    `discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(discord_.gateway_url)`.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__()
        # By default wider than Discord's, so that the library does not sleep in tests; {"*": (5, 5.0)} is strict.
        self.rates: dict[str, tuple[int, float]] = {"*": (1000, 1.0)}
        self.latency_s = 0.0  # how long each call takes
        self.hung: list[Call] = []  # the calls whose answer is held back
        self.unknown_requests: list[str] = []  # requests of the API that the fake does not know
        self._port = port
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._standing: list[Refusal] = []
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._release = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def api_url(self) -> str:
        """The base URL of the REST API, without a slash at the end."""
        return f"{self.url}/api/v10"

    def serve(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for route in ROUTES:
            app.router.add_route(route.method, f"/api/v10{route.path}", self._handler(route))
        app.router.add_get("/gateway", self.serve_gateway)
        app.router.add_get("/gateway/", self.serve_gateway)
        app.router.add_get("/attachments/{channel}/{attachment}/{name}", self._attachment)
        app.router.add_route("*", "/api/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        await self.stop_gateway()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- faults

    def limit_next(
        self,
        route: str,
        *,
        retry_after: float = 0.2,
        scope: Literal["user", "global", "shared"] = "user",
        via: bool = True,
        times: int = 1,
        where: Callable[[Asked], bool] = lambda _: True,
    ) -> None:
        """Answer the next calls of the route (`*`: of any) with 429; without `via` the library does not repeat them.

        https://discord.com/developers/docs/topics/rate-limits#exceeding-a-rate-limit
        """
        fault = Fault(kind="limit", times=times, retry_after_s=retry_after, scope=scope, has_via=via, where=where)
        self._add(route, fault)

    def cloudflare_next(self, times: int = 1, *, route: str = "*") -> None:
        """Answer the next calls as Cloudflare does to those that it bans: 429 without Via and without JSON."""
        self._add(route, Fault(kind="cloudflare", times=times))

    def fail_next(
        self,
        route: str,
        *,
        status: int = 0,
        code: int = 0,
        drop: Literal["", "before", "after"] = "",
        answer: Any = None,
        times: int = 1,
        where: Callable[[Asked], bool] = lambda _: True,
    ) -> None:
        """Let the next calls of the route (`*`: of any) fail, in one of three ways.

        `status`: an HTTP status with a page, or with `answer` as JSON, such as a relay on the way gives it. `code`:
        refused with that JSON error code. `drop`: the connection is cut without an answer, "before" the call is done or
        "after" it; then it took effect.
        """
        kind = "drop" if drop else "code" if code else "status"
        fault = Fault(kind=kind, times=times, status=status or 500, code=code, drop=drop, answer=answer, where=where)
        self._add(route, fault)

    def refuse(
        self, *routes: str, code: int = 0, status: int = 0, where: Callable[[Asked], bool] = lambda _: True
    ) -> Callable[[], None]:
        """Refuse the calls of these routes, by code or with a page of that status; returns how to lift it.

        `clear_faults` lifts all.
        """
        for route in routes:
            _check_name(route)
        kind = "code" if code else "status"
        refusal = Refusal(routes=routes, fault=Fault(times=0, kind=kind, status=status, code=code), where=where)
        self._standing.append(refusal)
        return lambda: self._standing.remove(refusal)

    def hang_next(
        self, route: str, *, times: int = 1, is_done: bool = True, where: Callable[[Asked], bool] = lambda _: True
    ) -> None:
        """Do what the next calls of the route ask and never answer them, until `release`.

        Unless `is_done` they are not done either, and their connection is cut in the end.
        """
        self._release.clear()
        self._add(route, Fault(kind="hang", times=times, drop="" if is_done else "before", where=where))

    def release(self) -> None:
        """Answer the calls that hang."""
        self._release.set()

    def clear_faults(self) -> None:
        self._faults.clear()
        self._standing.clear()

    def calls_of(self, route: str) -> list[Call]:
        """Return the calls of one route, oldest first."""
        _check_name(route)
        return [call for call in self.calls if call.route == route]

    @property
    def invalid_requests(self) -> int:
        """How many answers counted towards Cloudflare's ban: 401, 403 and 429.

        https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
        """
        return sum(call.status in {401, 403, 429} for call in self.calls)

    def _add(self, route: str, fault: Fault) -> None:
        _check_name(route)
        self._faults[route].append(fault)

    def _next_fault(self, route: str, asked: Asked) -> Fault | None:
        """Return the fault that lies in wait for the call, otherwise the refusal that covers it."""
        for name in (route, "*"):
            if (faults := self._faults.get(name)) and faults[0].where(asked):
                faults[0].times -= 1
                return faults.popleft() if faults[0].times <= 0 else faults[0]
        return next((each.fault for each in self._standing if route in each.routes and each.where(asked)), None)

    # --- a call

    def _handler(self, route: Route) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._call(route, request)

        return handle

    async def _call(self, route: Route, request: web.Request) -> web.StreamResponse:
        parameters = dict(request.match_info)
        try:
            body = await _read(request)
        except ValueError:
            return _json({"message": "The request body contains invalid JSON.", "code": 50109}, status=400)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        fault = self._next_fault(route.name, _asked(parameters, body))
        if fault is not None and fault.kind == "hang" and fault.drop:
            await self._hold(self._record(route, request, body, None, status=0))
            return _cut(request)
        if fault is not None and (fault.kind in {"limit", "cloudflare", "status"} or fault.drop == "before"):
            return self._fail(route, request, body, fault)
        headers = self._bucket_headers(route, parameters)
        if headers["X-RateLimit-Remaining"] == "-1":
            wait_s = float(headers["X-RateLimit-Reset-After"])
            return self._fail(route, request, body, Fault(kind="limit", times=1, retry_after_s=wait_s))
        answer, status = self._answer(route, request, body, parameters, code=fault.code if fault else 0)
        call = self._record(route, request, body, answer, status=status)
        if fault is not None and fault.drop == "after":
            return _cut(request)
        if fault is not None and fault.kind == "hang":
            await self._hold(call)
        # The library takes a 429 with Via for a rate limit and reads its retry_after, which this refusal has not.
        via: dict[str, str] = {} if status == 429 else VIA
        return _json(answer, status=status, headers=headers | via)

    def _answer(
        self, route: Route, request: web.Request, body: Body, parameters: dict[str, str], *, code: int
    ) -> tuple[Any, int]:
        """Return the JSON of the answer and its HTTP status."""
        try:
            if route.needs_token and request.headers.get("Authorization") != f"Bot {self.token}":
                raise DiscordError(0)
            if code:
                raise DiscordError(code)
            asked = Request(parameters=parameters, query=dict(request.query), body=body)
            answer = route.handler(self, asked)
        except DiscordError as refusal:
            return refusal.body, refusal.status
        return answer, 204 if answer is None else 200

    async def _hold(self, call: Call) -> None:
        self.hung.append(call)
        self.touch()
        await self._release.wait()
        self.hung.remove(call)

    def _record(self, route: Route, request: web.Request, body: Body, answer: Any, *, status: int) -> Call:
        call = Call(
            route=route.name,
            method=request.method,
            path=request.path.removeprefix("/api/v10"),
            parameters=dict(request.match_info),
            query=dict(request.query),
            body=body.json,
            files=[each.filename for each in body.files],
            at=time.monotonic(),
            status=status,
            answer=answer,
        )
        self.calls.append(call)
        self.touch()
        return call

    def _fail(self, route: Route, request: web.Request, body: Body, fault: Fault) -> web.StreamResponse:
        """Answer as the fault asks; nothing is done."""
        if fault.drop:
            self._record(route, request, body, None, status=0)
            return _cut(request)
        if fault.kind == "limit":
            answer: Json = {
                "message": "You are being rate limited.",
                "retry_after": fault.retry_after_s,
                "global": fault.scope == "global",
            }
            self._record(route, request, body, answer, status=429)
            return _json(answer, status=429, headers=_limit_headers(fault))
        status = 429 if fault.kind == "cloudflare" else fault.status
        self._record(route, request, body, fault.answer, status=status)
        if fault.answer is not None:
            return _json(fault.answer, status=status, headers=VIA)
        text = "error code: 1015" if fault.kind == "cloudflare" else "upstream error"
        return web.Response(status=status, text=text, content_type="text/html")

    def _bucket_headers(self, route: Route, parameters: dict[str, str]) -> dict[str, str]:
        """Count the call in its bucket; -1 remaining: it is over the limit.

        https://discord.com/developers/docs/topics/rate-limits#header-format
        """
        most, window_s = self.rates.get(route.name, self.rates["*"])
        major = next((parameters[name] for name in MAJOR if name in parameters), "")
        now = time.monotonic()
        bucket = self._buckets.get((route.name, major))
        if bucket is None or now >= bucket.ends_at:
            bucket = self._buckets[route.name, major] = Bucket(left=most, ends_at=now + window_s)
        bucket.left = max(-1, bucket.left - 1)
        after_s = bucket.ends_at - now
        return {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(bucket.left),
            "X-RateLimit-Reset": f"{time.time() + after_s:.3f}",
            "X-RateLimit-Reset-After": f"{after_s:.3f}",
            "X-RateLimit-Bucket": f"bucket-{route.name}",
        }

    # --- the other endpoints

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        """https://discord.com/developers/docs/topics/opcodes-and-status-codes: 0 is a general error."""
        self.unknown_requests.append(f"{request.method} {request.path}")
        return _json({"message": "404: Not Found", "code": 0}, status=404)

    async def _attachment(self, request: web.Request) -> web.StreamResponse:
        """Send an attachment's bytes, to everybody who has the signed URL."""
        route = ATTACHMENT
        if fault := self._next_fault("attachment", _asked({}, Body(json=None))):
            return self._fail(route, request, Body(json=None), fault)
        number = request.match_info["attachment"]
        stored = self.attachments.get(int(number)) if number.isdigit() else None
        is_found = stored is not None and "hm" in request.query
        self._record(route, request, Body(json=None), None, status=200 if is_found else 404)
        if stored is None or not is_found:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=stored.content, headers={"Content-Type": stored.content_type})


def _asked(parameters: Mapping[str, str], body: Body) -> Asked:
    channel = parameters.get("channel", "")
    return Asked(
        channel=int(channel) if channel.isdigit() else 0,
        text=str(body.fields.get("content", "")) if isinstance(body.json, dict) else "",
        has_files=bool(body.files),
    )


def _check_name(route: str) -> None:
    assert route in NAMES, f"there is no route {route!r}; there are {sorted(NAMES)}"


async def _read(request: web.Request) -> Body:
    """Return the body: JSON, or `payload_json` and `files[n]` of a multipart request.

    Raises:
        ValueError: It is no JSON.
    """
    if request.content_type != "multipart/form-data":
        raw = await request.read()
        return Body(json=json.loads(raw) if raw else {})
    fields: Any = {}
    files: list[SentFile] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        if part.name == "payload_json":
            fields = json.loads(await part.text())
        elif part.name is not None and part.name.startswith("files["):
            content = bytes(await part.read(decode=False))
            kind = part.headers.get("Content-Type", "application/octet-stream")
            number = part.name.removeprefix("files[").removesuffix("]")
            files.append(SentFile(number, part.filename or "unknown", content, kind))
    return Body(json=fields, files=files)


def _limit_headers(fault: Fault) -> dict[str, str]:
    headers = {
        "Retry-After": str(math.ceil(fault.retry_after_s)),
        "X-RateLimit-Reset-After": f"{fault.retry_after_s:.3f}",
        "X-RateLimit-Scope": fault.scope,
    }
    if fault.scope == "global":
        headers["X-RateLimit-Global"] = "true"
    return headers | (VIA if fault.has_via else {})


def _json(answer: Any, *, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Answer in JSON; the content type carries no charset, as Discord's does not."""
    if answer is None:
        return web.Response(status=status, headers=headers)
    content = json.dumps(answer).encode()
    return web.Response(body=content, status=status, headers={"Content-Type": "application/json", **(headers or {})})


def _cut(request: web.Request) -> web.StreamResponse:
    """Drop the connection; the response is not sent any more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
