"""The current weather at a named place, from Open-Meteo (no key needed; data under CC BY 4.0)."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Annotated, Final, Self, TypeVar

import httpx2
from cachetools import TTLCache
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from mcp_server.answer import Answer
from mcp_server.geocoding import Location, Match, best_match, parse_query

FORECAST_URL: Final = "https://api.open-meteo.com/v1/forecast"
GEOCODING_URL: Final = "https://geocoding-api.open-meteo.com/v1/search"

_MAX_LOCATIONS = 100  # the most that the geocoding service returns
_LOCATIONS_FRESH_S = 86_400.0
_FORECAST_FRESH_S = 600.0  # the service itself renews the current weather every 15 minutes
_MAX_CACHED = 256
_MAX_REASON_CHARS = 200
_CURRENT = (
    "temperature_2m,apparent_temperature,relative_humidity_2m,precipitation,weather_code,"
    "wind_speed_10m,wind_direction_10m"
)
_COMPASS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")
_CONDITIONS = {  # WMO code table 4677, as Open-Meteo documents its part of it
    0: "clear sky",
    1: "mainly clear",
    2: "partly cloudy",
    3: "overcast",
    45: "fog",
    48: "fog with rime",
    51: "light drizzle",
    53: "drizzle",
    55: "dense drizzle",
    56: "light freezing drizzle",
    57: "freezing drizzle",
    61: "light rain",
    63: "rain",
    65: "heavy rain",
    66: "light freezing rain",
    67: "freezing rain",
    71: "light snow",
    73: "snow",
    75: "heavy snow",
    77: "snow grains",
    80: "light showers",
    81: "showers",
    82: "violent showers",
    85: "light snow showers",
    86: "heavy snow showers",
    95: "thunderstorm",
    96: "thunderstorm with light hail",
    99: "thunderstorm with heavy hail",
}

_Body = TypeVar("_Body", bound=BaseModel)


class WeatherReport(Answer):
    """The weather at one location; what the service omits is null."""

    place: str
    latitude: float
    longitude: float
    observed_at: Annotated[str, Field(description="ISO 8601, local time of the place")]
    timezone: Annotated[str, Field(description="IANA name")]
    temperature_c: float
    feels_like_c: float | None
    conditions: str | None
    humidity_percent: float | None
    precipitation_mm: float | None
    wind_kmh: float | None
    wind_from: Annotated[str | None, Field(description="compass point that the wind comes from")]
    other_places: Annotated[list[str], Field(description="places of the same name that were not taken")]
    source: str = "Open-Meteo.com"

    def sentence(self) -> str:
        """The location, the weather, the source, and other locations of that name."""
        weather = ", ".join(self._facts())
        text = f"Weather in {self.place} at {self.observed_at[-5:]} local time: {weather}. Source: {self.source}."
        if not self.other_places:
            return text
        return f"{text} Other places of that name: {'; '.join(self.other_places)}."

    def _facts(self) -> list[str]:
        felt = "" if self.feels_like_c is None else f" (feels like {self.feels_like_c} °C)"
        wind_from = "" if self.wind_from is None else f" from the {self.wind_from}"
        facts = (
            self.conditions,
            f"{self.temperature_c} °C{felt}",
            None if self.humidity_percent is None else f"humidity {self.humidity_percent:.0f} %",
            None if self.precipitation_mm is None else f"precipitation {self.precipitation_mm} mm",
            None if self.wind_kmh is None else f"wind {self.wind_kmh} km/h{wind_from}",
        )
        return [fact for fact in facts if fact is not None]


class Weather:
    """A client of Open-Meteo that caches locations for a day and the weather for ten minutes.

    An async context manager; leaving it closes the connections. They are opened for the first
    report, because most servers never give one.
    """

    def __init__(
        self,
        *,
        forecast_url: str = FORECAST_URL,
        geocoding_url: str = GEOCODING_URL,
        connect_timeout_s: float = 3.0,
        total_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._forecast_url = forecast_url
        self._geocoding_url = geocoding_url
        self._connect_timeout_s = connect_timeout_s
        self._total_timeout_s = total_timeout_s
        self._locations = TTLCache[str, tuple[Location, ...]](_MAX_CACHED, _LOCATIONS_FRESH_S, timer=clock)
        self._forecasts = TTLCache[tuple[float, float], _Forecast](_MAX_CACHED, _FORECAST_FRESH_S, timer=clock)
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def report(self, city: str) -> WeatherReport:
        """Return the current weather in `city`: `Paris`, `Paris, Texas`, `NYC`.

        Raises:
            ToolError: No such location, or the service failed, refused or took longer than
                `total_timeout_s` in all.
        """
        query = parse_query(city)
        try:
            async with asyncio.timeout(self._total_timeout_s):
                match = best_match(await self._find(query.name), query)
                forecast = await self._forecast(match.location)
        except TimeoutError as error:
            raise _unavailable(f"did not answer within {self._total_timeout_s:g} s") from error
        return _report(match, forecast)

    async def _find(self, name: str) -> tuple[Location, ...]:
        key = name.casefold()
        locations = self._locations.get(key)
        if locations is None:
            params = {"name": name, "count": str(_MAX_LOCATIONS), "language": "en", "format": "json"}
            locations = (await self._fetch(self._geocoding_url, params, _Geocoding)).results
            self._locations[key] = locations
        return locations

    async def _forecast(self, location: Location) -> "_Forecast":
        key = (location.latitude, location.longitude)
        forecast = self._forecasts.get(key)
        if forecast is None:
            params = {"latitude": str(key[0]), "longitude": str(key[1]), "current": _CURRENT, "timezone": "auto"}
            forecast = await self._fetch(self._forecast_url, params, _Forecast)
            self._forecasts[key] = forecast
        return forecast

    async def _fetch(self, url: str, params: dict[str, str], body: type[_Body]) -> _Body:
        try:
            response = await self._opened().get(url, params=params)
        except httpx2.TimeoutException as error:
            raise _unavailable("did not answer in time") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _unavailable(f"cannot be reached ({type(error).__name__})") from error
        if not response.is_success:
            raise _refused(response)
        return _parsed(response, body)

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            timeout = httpx2.Timeout(self._total_timeout_s, connect=self._connect_timeout_s)
            self._client = httpx2.AsyncClient(timeout=timeout)
        return self._client


class _Geocoding(BaseModel):
    results: tuple[Location, ...] = ()  # omitted when nothing was found


class _Current(BaseModel):
    time: datetime  # local to the location
    temperature_2m: FiniteFloat
    apparent_temperature: FiniteFloat | None = None
    relative_humidity_2m: FiniteFloat | None = None
    precipitation: FiniteFloat | None = None
    weather_code: int | None = None
    wind_speed_10m: FiniteFloat | None = None
    wind_direction_10m: FiniteFloat | None = None


class _Forecast(BaseModel):
    timezone: str
    current: _Current


class _Refusal(BaseModel):
    reason: str


def _parsed(response: httpx2.Response, body: type[_Body]) -> _Body:
    try:
        return body.model_validate_json(response.content)
    except ValidationError as error:
        raise _unavailable("gave an answer that cannot be read") from error


def _refused(response: httpx2.Response) -> ToolError:
    try:
        reason = _Refusal.model_validate_json(response.content).reason[:_MAX_REASON_CHARS]
    except ValidationError:
        return _unavailable(f"failed with HTTP status {response.status_code}")
    return _unavailable(f"refused with HTTP status {response.status_code}: {reason}")


def _unavailable(what_happened: str) -> ToolError:
    return ToolError(f"the weather is not known: the weather service {what_happened}; try again later")


def _report(match: Match, forecast: _Forecast) -> WeatherReport:
    current = forecast.current
    return WeatherReport(
        place=match.location.label,
        latitude=match.location.latitude,
        longitude=match.location.longitude,
        observed_at=current.time.isoformat(timespec="minutes"),
        timezone=forecast.timezone,
        temperature_c=current.temperature_2m,
        feels_like_c=current.apparent_temperature,
        conditions=_conditions(current.weather_code),
        humidity_percent=current.relative_humidity_2m,
        precipitation_mm=current.precipitation,
        wind_kmh=current.wind_speed_10m,
        wind_from=_compass_point(current.wind_direction_10m),
        other_places=list(match.others),
    )


def _conditions(weather_code: int | None) -> str | None:
    return None if weather_code is None else _CONDITIONS.get(weather_code, f"WMO weather code {weather_code}")


def _compass_point(degrees: float | None) -> str | None:
    return None if degrees is None else _COMPASS[round(degrees / 45) % 8]
