"""Open-Meteo's geocoding and forecast services on loopback, answering as their documentation says."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, Self, cast
from zlib import crc32

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.server import ServerState

Fault = Literal["refuse", "fail", "garbage", "wrong_shape", "stall"]

CURRENT: Mapping[str, float | int] = {
    "temperature_2m": 12.3,
    "apparent_temperature": 10.1,
    "relative_humidity_2m": 56,
    "precipitation": 0.2,
    "weather_code": 61,
    "wind_speed_10m": 14.2,
    "wind_direction_10m": 225,
}
OBSERVED_AT = "2026-11-22T14:15"
REASON = "Daily API request limit exceeded. Please try again tomorrow."


def place(name: str, admin1: str, country: str, *, code: str, at: tuple[float, float]) -> dict[str, object]:
    """One geocoding result; the service leaves out fields that it does not know."""
    found = {
        "id": crc32(f"{name}, {admin1}".encode()),
        "name": name,
        "latitude": at[0],
        "longitude": at[1],
        "elevation": 42.0,
        "feature_code": "PPL",
        "country_code": code,
        "timezone": "GMT",
        "population": 1000,
        "country": country,
        "admin1": admin1,
    }
    return {field: value for field, value in found.items() if value != ""}


PLACES = (  # by relevance, as the service orders them
    place("Paris", "Île-de-France", "France", code="FR", at=(48.85341, 2.3488)),
    place("Paris", "Texas", "United States", code="US", at=(33.66094, -95.55551)),
    place("Paris", "Tennessee", "United States", code="US", at=(36.302, -88.32671)),
    place("Parisville", "Michigan", "United States", code="US", at=(43.8, -82.8)),
    place("New York", "New York", "United States", code="US", at=(40.71427, -74.00597)),
    place("New York", "Florida", "United States", code="US", at=(30.83852, -87.20108)),
    place("Washington", "District of Columbia", "United States", code="US", at=(38.89511, -77.03637)),
    place("Los Angeles", "California", "United States", code="US", at=(34.05223, -118.24368)),
    place("San Francisco", "California", "United States", code="US", at=(37.77493, -122.41942)),
    place("London", "England", "United Kingdom", code="GB", at=(51.50853, -0.12574)),
    place("London", "Ontario", "Canada", code="CA", at=(42.98339, -81.23304)),
    place("Singapore", "", "Singapore", code="SG", at=(1.28967, 103.85007)),
)


class FakeOpenMeteo:
    """Both services at one ephemeral port for as long as the context lasts.

    `requests` lists what was asked for, by path. A fault set for a path stays until it is removed.
    """

    search_path = "/v1/search"
    forecast_path = "/v1/forecast"

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        self.requests: dict[str, list[dict[str, str]]] = {self.search_path: [], self.forecast_path: []}
        self.current: dict[str, float | int | None] = dict(CURRENT)
        self._released = asyncio.Event()
        self._state = ServerState()

    @property
    def geocoding_url(self) -> str:
        """What GEOCODING_API_URL has to say."""
        return self._base_url + self.search_path

    @property
    def forecast_url(self) -> str:
        """What WEATHER_API_URL has to say."""
        return self._base_url + self.forecast_path

    async def __aenter__(self) -> Self:
        routes = [Route(self.search_path, self._search), Route(self.forecast_path, self._forecast)]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", ws="none")
        config.load()
        connection = cast(Callable[..., asyncio.Protocol], config.http_protocol_class)
        protocol = partial(connection, config=config, server_state=self._state, app_state={})
        self._server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self._base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*self._state.tasks)
            for connection in list(self._state.connections):
                connection.shutdown()
            self._server.close()
            await self._server.wait_closed()

    async def _search(self, request: Request) -> Response:
        if fault := await self._fault(request):
            return fault
        name, count = request.query_params["name"].casefold(), int(request.query_params.get("count", "10"))
        if not 1 <= count <= 100:
            return _refusal("Parameter count must be between 1 and 100.")
        found = [spot for spot in PLACES if len(name) > 1 and str(spot["name"]).casefold().startswith(name)]
        answer: dict[str, object] = {"generationtime_ms": 0.5}
        return JSONResponse(answer | {"results": found[:count]} if found else answer)

    async def _forecast(self, request: Request) -> Response:
        if fault := await self._fault(request):
            return fault
        asked = request.query_params["current"].split(",")
        if unknown := [variable for variable in asked if variable not in CURRENT]:
            return _refusal(f"Cannot initialize SurfaceVariable from invalid String value {unknown[0]} for key current")
        return JSONResponse(
            {
                "latitude": float(request.query_params["latitude"]),
                "longitude": float(request.query_params["longitude"]),
                "generationtime_ms": 0.1,
                "utc_offset_seconds": 0,
                "timezone": "Europe/London",
                "timezone_abbreviation": "GMT",
                "elevation": 42.0,
                "current_units": {"time": "iso8601", "interval": "seconds", "temperature_2m": "°C"},
                "current": {"time": OBSERVED_AT, "interval": 900} | {key: self.current[key] for key in asked},
            }
        )

    async def _fault(self, request: Request) -> Response | None:
        """Note the request, then answer it wrongly if that was asked for."""
        self.requests[request.url.path].append(dict(request.query_params))
        match self.faults.get(request.url.path):
            case None:
                return None
            case "refuse":
                return _refusal(REASON, status=429)
            case "fail":
                return Response("<html>Bad Gateway</html>", status_code=502, media_type="text/html")
            case "garbage":
                return Response('{"results": [{"name": "Par', media_type="application/json")
            case "wrong_shape":
                return JSONResponse({"results": [{"name": "Paris", "latitude": 512}], "current": {"time": OBSERVED_AT}})
            case "stall":
                await self._released.wait()
                return Response(status_code=503)


def _refusal(reason: str, *, status: int = 400) -> Response:
    return JSONResponse({"error": True, "reason": reason}, status_code=status)
