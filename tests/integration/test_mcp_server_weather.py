import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client
from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.folder import FolderWorkspace
from mcp_server.server import build_server
from mcp_server.weather import Weather
from tests.fakes.open_meteo import CURRENT, PLACES, REASON, FakeOpenMeteo, Fault

SEARCH, FORECAST = FakeOpenMeteo.search_path, FakeOpenMeteo.forecast_path


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def service() -> AsyncIterator[FakeOpenMeteo]:
    async with FakeOpenMeteo() as service:
        yield service


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def weather(service: FakeOpenMeteo, clock: Clock) -> AsyncIterator[Weather]:
    async with Weather(
        forecast_url=service.forecast_url, geocoding_url=service.geocoding_url, total_timeout_s=5, clock=clock
    ) as weather:
        yield weather


async def said(weather: Weather, city: str) -> str:
    with pytest.raises(ToolError) as caught:
        await weather.report(city)
    return str(caught.value)


async def test_the_tool_tells_the_weather_in_words_and_as_data(service: FakeOpenMeteo, tmp_path: Path) -> None:
    server = build_server(
        workspace=FolderWorkspace(tmp_path),
        weather_api_url=service.forecast_url,
        geocoding_api_url=service.geocoding_url,
    )
    async with asyncio.timeout(30), Client(server) as client:
        result = await client.call_tool("get_weather", {"city": "NYC"})
    assert not result.is_error
    assert [block.model_dump()["text"] for block in result.content] == [
        "Weather in New York, United States at 14:15 local time: light rain, 12.3 °C (feels like 10.1 °C), "
        "humidity 56 %, precipitation 0.2 mm, wind 14.2 km/h from the southwest. Source: Open-Meteo.com."
    ]
    assert result.structured_content is not None
    assert result.structured_content["temperature_c"] == CURRENT["temperature_2m"]
    assert result.structured_content["observed_at"] == "2026-11-22T14:15"


@pytest.mark.parametrize(("city", "index"), [("Paris", 0), ("Paris, Texas", 1), ("Paris, TN", 2), ("Singapore", -1)])
async def test_the_forecast_is_that_of_the_chosen_place(
    weather: Weather, service: FakeOpenMeteo, city: str, index: int
) -> None:
    report = await weather.report(city)
    chosen = PLACES[index]
    assert (report.latitude, report.longitude) == (chosen["latitude"], chosen["longitude"])
    (asked,) = service.requests[FORECAST]
    assert (float(asked["latitude"]), float(asked["longitude"])) == (report.latitude, report.longitude)


async def test_an_ambiguous_name_says_which_place_was_taken_and_names_the_others(weather: Weather) -> None:
    report = await weather.report("Paris")
    assert report.sentence().startswith("Weather in Paris, Île-de-France, France at ")
    assert report.sentence().endswith(
        " Other places of that name: Paris, Texas, United States; Paris, Tennessee, United States."
    )


async def test_a_place_that_does_not_exist_is_an_error_and_asks_for_no_forecast(
    weather: Weather, service: FakeOpenMeteo
) -> None:
    assert "no place called 'Nowhereville' is known" in await said(weather, "Nowhereville")
    assert "no 'Paris' in 'Bavaria' is known; there is Paris, Île-de-France" in await said(weather, "Paris, Bavaria")
    assert service.requests[FORECAST] == []


@pytest.mark.parametrize("path", [SEARCH, FORECAST])
@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        ("refuse", f"refused with HTTP status 429: {REASON}"),
        ("fail", "failed with HTTP status 502"),
        ("garbage", "gave an answer that cannot be read"),
        ("wrong_shape", "gave an answer that cannot be read"),
    ],
)
async def test_a_service_that_fails_is_an_error_and_works_again_afterwards(
    weather: Weather, service: FakeOpenMeteo, path: str, fault: Fault, reported: str
) -> None:
    service.faults[path] = fault
    assert await said(weather, "Paris") == f"the weather is not known: the weather service {reported}; try again later"
    del service.faults[path]
    assert (await weather.report("Paris")).temperature_c == CURRENT["temperature_2m"]


@pytest.mark.parametrize("path", [SEARCH, FORECAST])
async def test_a_service_that_does_not_answer_is_given_up_in_time(service: FakeOpenMeteo, path: str) -> None:
    service.faults[path] = "stall"
    impatient = Weather(forecast_url=service.forecast_url, geocoding_url=service.geocoding_url, total_timeout_s=1.0)
    async with asyncio.timeout(10), impatient as weather:
        assert "did not answer within 1 s" in await said(weather, "Paris")
    assert len(service.requests[path]) == 1


async def test_a_service_that_is_not_there_is_an_error_that_says_so() -> None:
    async with FakeOpenMeteo() as gone:
        pass
    async with Weather(forecast_url=gone.forecast_url, geocoding_url=gone.geocoding_url) as weather:
        assert "the weather service cannot be reached" in await said(weather, "Paris")


@pytest.mark.parametrize("url", ["not a url", "http://", "ftp://127.0.0.1/", "http://[::1"])
async def test_a_wrong_address_in_the_settings_is_an_error_too(url: str) -> None:
    async with Weather(forecast_url=url, geocoding_url=url) as weather:
        assert "the weather service cannot be reached" in await said(weather, "Paris")


async def test_what_the_service_leaves_out_is_left_out_of_the_answer(weather: Weather, service: FakeOpenMeteo) -> None:
    service.current |= dict.fromkeys(CURRENT, None) | {"temperature_2m": -3.0}
    report = await weather.report("London, UK")
    assert report.sentence().endswith(" local time: -3.0 °C. Source: Open-Meteo.com.")
    assert (report.humidity_percent, report.wind_from, report.conditions) == (None, None, None)


async def test_no_temperature_is_no_answer(weather: Weather, service: FakeOpenMeteo) -> None:
    service.current["temperature_2m"] = None
    assert "gave an answer that cannot be read" in await said(weather, "London")


async def test_a_weather_code_that_is_not_documented_is_shown_as_it_is(
    weather: Weather, service: FakeOpenMeteo
) -> None:
    service.current["weather_code"] = 42
    assert (await weather.report("London")).conditions == "WMO weather code 42"


async def test_the_weather_is_asked_for_again_after_ten_minutes_and_the_place_after_a_day(
    weather: Weather, service: FakeOpenMeteo, clock: Clock
) -> None:
    asked: list[tuple[int, int]] = []
    for clock.now_s in (0, 599, 600, 86_399, 86_400):
        await weather.report("Paris, France")
        asked.append((len(service.requests[SEARCH]), len(service.requests[FORECAST])))
    assert asked == [(1, 1), (1, 1), (1, 2), (1, 3), (2, 3)]


async def test_one_search_serves_every_way_to_write_a_name(weather: Weather, service: FakeOpenMeteo) -> None:
    for city in ("Paris", "paris, Texas", "PARIS, TN"):
        await weather.report(city)
    assert len(service.requests[SEARCH]) == 1
    assert len(service.requests[FORECAST]) == 3


async def test_the_memory_of_places_is_bounded(weather: Weather, service: FakeOpenMeteo) -> None:
    await weather.report("Paris")
    for number in range(256):
        await said(weather, f"Nowhere {number}")
    await weather.report("Paris")
    searched = [request["name"] for request in service.requests[SEARCH]]
    assert searched.count("Paris") == 2
    await said(weather, "Nowhere 255")
    assert len(service.requests[SEARCH]) == len(searched)


async def test_cities_asked_for_at_once_are_all_answered(weather: Weather) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        cities = ("Paris", "London", "NYC", "LA", "SF", "DC")
        reports = [group.create_task(weather.report(city)) for city in cities]
    assert len({report.result().place for report in reports}) == len(cities)
