"""The loopback Slack as a server: routes, authentication, faults on request, the record of calls."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.slack import app_methods, chat_methods, conversation_methods, view_methods
from tests.fakes.slack.blocks import as_object
from tests.fakes.slack.people import People
from tests.fakes.slack.rates import Rates
from tests.fakes.slack.web_api import Arguments, WebApi
from tests.fakes.slack.world import Call, Json, SlackError, Token

MAX_UPLOAD_BYTES = 64 * 1024 * 1024
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Sign in to Slack</title></head><body>Sign in</body></html>"


@dataclass(kw_only=True)
class Fault:
    """What is to happen to the next calls of a method."""

    times: int
    error: str = ""
    status: int = 0
    retry_after_s: int | None = None
    drop: Literal["", "before", "after"] = ""
    where: Callable[[Json], bool] = lambda arguments: True  # other calls pass it by


@dataclass(kw_only=True)
class Rule:
    """What happens to every call of some methods that has certain arguments."""

    methods: frozenset[str]
    fault: Fault
    covers: Callable[[Json], bool]


@dataclass(kw_only=True)
class Hang:
    """A call that gets no answer until it is released, or its caller is gone."""

    is_done: bool  # it has taken effect
    covers: Callable[[Json], bool]
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class FakeSlack(People):
    """A Slack on loopback for the real, unpatched SDK; `async with FakeSlack() as slack` serves it.

    Default ids: app A1, bot user UBOT, bot B1, team T1, bot token xoxb-test, app token xapp-test, signing secret
    signing-test, client client-test with client-secret-test.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__()
        self.api = WebApi(
            self,
            self.announce,
            app_methods.METHODS,
            chat_methods.METHODS,
            conversation_methods.METHODS,
            view_methods.METHODS,
        )
        self.rates = Rates()
        self.latency_s = 0.0  # how long each call takes
        self._port = port
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._rules: list[Rule] = []
        self._hangs: dict[str, deque[Hang]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None

    @property
    def api_url(self) -> str:
        """The base URL for AsyncWebClient."""
        return f"{self.url}/api/"

    def serve(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_UPLOAD_BYTES)
        app.add_routes(
            [
                web.route("*", "/api/{method}", self._call),
                web.get("/link", self._link),
                web.post("/hooks/response/{key}", self._respond),
                web.post("/upload/{file}", self._upload),
                web.get("/files-pri/{file}/{name:.*}", self._download),
                web.get("/oauth/v2/authorize", self._authorize),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for hang in [hang for hangs in self._hangs.values() for hang in hangs]:
            hang.released.set()
        await self.cut_sockets()
        await self.stop_delivering()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- faults

    def limit_next(
        self,
        method: str,
        *,
        retry_after_s: int = 1,
        times: int = 1,
        where: Callable[[Json], bool] = lambda arguments: True,
    ) -> None:
        """Answer the next calls of the method (`*`: of any) with 429: https://docs.slack.dev/apis/web-api/rate-limits."""
        self._faults[method].append(Fault(times=times, retry_after_s=retry_after_s, where=where))

    def fail_next(
        self,
        method: str,
        *,
        error: str = "",
        status: int = 0,
        drop: Literal["", "before", "after"] = "",
        times: int = 1,
        where: Callable[[Json], bool] = lambda arguments: True,
    ) -> None:
        """Make the next calls of the method (`*`: of any) with such arguments fail, in one of three ways.

        `response_url`, `upload` and `download` name the endpoints that are no methods; they fail before the call.

        `error`: refused with that code. `status`: an HTTP error without JSON. `drop`: the connection is cut without
        an answer, "before" the call is done, or "after" it: then it took effect.
        """
        self._faults[method].append(Fault(times=times, error=error, status=status, drop=drop, where=where))

    def refuse(
        self, *methods: str, error: str = "", status: int = 0, where: Callable[[Json], bool] = lambda arguments: True
    ) -> None:
        """Let all calls of these methods with such arguments fail from now on, as `fail_next` does."""
        fault = Fault(times=0, error=error, status=status)
        self._rules.append(Rule(methods=frozenset(methods), fault=fault, covers=where))

    def hang_next(
        self, method: str, *, is_done: bool = True, where: Callable[[Json], bool] = lambda arguments: True
    ) -> Hang:
        """Hold the answer of the next call of the method: `is_done` after it took effect, otherwise before that."""
        hang = Hang(is_done=is_done, covers=where)
        self._hangs[method].append(hang)
        return hang

    def clear_faults(self) -> None:
        self._faults.clear()
        self._rules.clear()

    def calls_of(self, method: str) -> list[Call]:
        """Return the calls of one method, oldest first."""
        return [call for call in self.calls if call.method == method]

    def _next_fault(self, method: str, arguments: Json) -> Fault | None:
        for name in (method, "*"):
            if (faults := self._faults.get(name)) and faults[0].where(arguments):
                faults[0].times -= 1
                return faults.popleft() if faults[0].times <= 0 else faults[0]
        return None

    def _ruled(self, method: str, arguments: Json) -> Fault | None:
        return next((rule.fault for rule in self._rules if method in rule.methods and rule.covers(arguments)), None)

    def _next_hang(self, method: str, arguments: Json) -> Hang | None:
        """Return what holds this call; it stays known, so that the end of the fake releases it."""
        hangs = self._hangs[method]
        return next((hang for hang in hangs if not hang.reached.is_set() and hang.covers(arguments)), None)

    async def _wait_for(self, hang: Hang) -> None:
        hang.reached.set()
        self.touch()
        await hang.released.wait()

    # --- the Web API

    async def _call(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["method"]
        raw, value = await _read(request)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        hang = self._next_hang(name, raw)
        if hang is not None and not hang.is_done:
            await self._wait_for(hang)
            if request.transport is None or request.transport.is_closing():  # the caller died meanwhile
                return web.Response()
        known = self.tokens.get(value)
        team = known.team if known else ""
        fault = self._next_fault(name, raw) or self._ruled(name, raw) or Fault(times=0)
        if fault.drop == "before":
            self._record(name, raw, team, {"error": "dropped"}, status=0)
            return _cut(request)
        answer, status, headers = self._answer(name, raw, value, fault=fault)
        self._record(name, raw, team, answer, status=status)
        if hang is not None and hang.is_done:
            await self._wait_for(hang)
        if fault.drop == "after":
            return _cut(request)
        if status not in {200, 429}:
            return web.Response(status=status, text="upstream error")
        if name == "auth.test" and known:
            headers["x-oauth-scopes"] = ",".join(known.scopes)
        return web.json_response(answer, status=status, headers=headers)

    def _answer(self, name: str, raw: Json, value: str, *, fault: Fault) -> tuple[Json, int, dict[str, str]]:
        """Return the answer, its HTTP status and headers."""
        if fault.status:
            return {"ok": False, "error": f"status {fault.status}"}, fault.status, {}
        try:
            token = self.api.accept_token(value)
            wait_s = fault.retry_after_s if fault.retry_after_s is not None else self._retry_after_s(name, raw, token)
            if wait_s is not None:
                return {"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(wait_s)}
            if fault.error:
                raise SlackError(fault.error)
            return self.api.answer(name, Arguments.parse(raw), token), 200, {}
        except SlackError as error:
            return {"ok": False, "error": error.code} | error.extra, 200, {}

    def _record(self, name: str, raw: Json, team: str, answer: Json, *, status: int) -> None:
        arguments = {key: each for key, each in raw.items() if key not in {"token", "client_secret", "refresh_token"}}
        self.calls.append(
            Call(method=name, arguments=arguments, at=time.monotonic(), team=team, answer=answer, status=status)
        )
        self.touch()

    def _retry_after_s(self, name: str, raw: Json, token: Token | None) -> int | None:
        """Return the seconds to wait where the call is one too many."""
        if token is None:
            return None
        return self.rates.retry_after_s(name, team=token.team, channel=str(raw.get("channel", "")), now=self.now())

    # --- the other endpoints

    async def _link(self, request: web.Request) -> web.StreamResponse:
        return await self.link(request, self.api.tickets)

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        url = self.response_urls.get(request.match_info["key"])
        body = await request.json()
        fault = self._next_fault("response_url", body) or Fault(times=0)
        if fault.drop or fault.status or fault.retry_after_s is not None:
            return _failed(request, fault)
        try:
            if url is None:
                raise SlackError("no_service")
            chat_methods.answer_response_url(self.api, url, body)
        except SlackError as error:
            answer = {"ok": False, "error": error.code} | error.extra
            self._record("response_url", body, "", answer, status=404)
            is_gone = error.code in {"used_url", "expired_url", "no_service"}
            return web.json_response(answer, status=404 if is_gone else 400)
        self._record("response_url", body, "", {"ok": True}, status=200)
        return web.json_response({"ok": True})

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        """Take the bytes, raw or as multipart: https://docs.slack.dev/messaging/working-with-files."""
        stored = self.files.get(request.match_info["file"])
        if fault := self._next_fault("upload", {}) or self._ruled("upload", {}):
            return _failed(request, fault)
        if stored is None or stored.is_uploaded:
            return web.Response(status=404, text="no such upload")
        if request.content_type == "multipart/form-data":
            fields = [field for field in (await request.post()).values() if isinstance(field, web.FileField)]
            content = fields[0].file.read() if fields else b""
        else:
            content = await request.read()
        if len(content) != stored.declared_length:
            return web.Response(status=400, text=f"{len(content)} bytes came, {stored.declared_length} were announced")
        stored.content, stored.is_uploaded = content, True
        self.touch()
        return web.Response(text=f"OK - {len(content)}")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes to a token of the file's team; anybody else gets the sign-in page, with status 200.

        https://docs.slack.dev/reference/objects/file-object: url_private needs the token in the Authorization header.
        """
        team, _, file = request.match_info["file"].partition("-")
        stored = self.files.get(file)
        self.downloads.append(file)
        if fault := self._next_fault("download", {}):
            return _failed(request, fault)
        token = self.tokens.get(_bearer(request))
        if stored is None:
            return web.Response(status=404)
        if token is None or token.is_revoked or token.team != team or "files:read" not in token.scopes:
            return web.Response(text=LOGIN_PAGE, content_type="text/html")
        # A canvas is a page: https://github.com/stablyai/agent-slack/pull/19
        is_canvas = stored.mimetype == "application/vnd.slack-docs"
        return web.Response(body=stored.content, content_type="text/html" if is_canvas else stored.mimetype)

    def grant_code(self, team: str, user: str = "") -> str:
        """Return a code for oauth.v2.access, as if that person had allowed the app in that workspace."""
        code = self.next_id("code-")
        self.api.oauth_codes[code] = (team, user)
        return code

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        """A person who allows at once, in the team that the query names (T1): sends the browser back with a code."""
        code = self.grant_code(request.query.get("team", "T1"))
        back = urlencode({"code": code, "state": request.query.get("state", "")})
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{back}")


async def _read(request: web.Request) -> tuple[Json, str]:
    """Return the arguments of a call, from query and body, and its token."""
    raw: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body: Any = await request.json() if request.can_read_body else None
        raw |= as_object(body) or Json()
    elif request.method == "POST":
        raw |= {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
    header = request.headers.get("Authorization", "")
    if header.startswith("Basic "):
        login, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        raw |= {"client_id": login, "client_secret": password}
    return raw, _bearer(request) or str(raw.get("token", ""))


def _bearer(request: web.Request) -> str:
    header = request.headers.get("Authorization", "")
    return header.removeprefix("Bearer ") if header.startswith("Bearer ") else ""


def _failed(request: web.Request, fault: Fault) -> web.StreamResponse:
    """Answer at an endpoint that is no method as the fault asks; nothing is done."""
    if fault.drop:
        return _cut(request)
    if fault.retry_after_s is not None:
        return web.Response(status=429, headers={"Retry-After": str(fault.retry_after_s)})
    return web.Response(status=fault.status or 500, text="upstream error")


def _cut(request: web.Request) -> web.StreamResponse:
    """Drop the connection; the response is not sent any more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
