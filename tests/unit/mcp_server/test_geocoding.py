import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.geocoding import Location, best_match, parse_query
from tests.fakes.open_meteo import PLACES, place


def known(name: str) -> list[Location]:
    return [Location.model_validate(found) for found in PLACES if found["name"] == name]


@pytest.mark.parametrize(
    ("query", "region"),
    [
        ("Paris", "Île-de-France"),
        ("Paris, France", "Île-de-France"),
        ("Paris, ile de-france", None),
        ("Paris, ILE-DE-FRANCE", "Île-de-France"),
        ("Paris, FR", "Île-de-France"),
        ("Paris, Texas", "Texas"),
        ("paris,tx", "Texas"),
        ("Paris, US", "Texas"),
        ("Paris, U.S.A.", "Texas"),
        ("Paris, TN, United States", "Tennessee"),
        ("London, UK", "England"),
        ("London, CA", "Ontario"),
        ("Paris, Texas, France", None),
    ],
)
def test_regions_after_a_comma_tell_places_of_one_name_apart(query: str, region: str | None) -> None:
    parsed = parse_query(query)
    places = known(parsed.name.title())
    if region is None:
        with pytest.raises(ToolError, match="there is "):
            best_match(places, parsed)
    else:
        assert best_match(places, parsed).location.admin1 == region


def test_a_region_that_has_no_such_place_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(
        ToolError, match="no 'Paris' in 'Bavaria' is known; there is Paris, Île-de-France, France; Paris"
    ):
        best_match(known("Paris"), parse_query("Paris, Bavaria"))


def test_other_places_that_the_query_fits_are_named() -> None:
    everywhere = best_match(known("Paris"), parse_query("Paris"))
    assert everywhere.others == ("Paris, Texas, United States", "Paris, Tennessee, United States")
    assert best_match(known("Paris"), parse_query("Paris, US")).others == ("Paris, Tennessee, United States",)
    assert best_match(known("Paris"), parse_query("Paris, Texas")).others == ()


def test_places_of_another_name_are_not_mentioned_as_others() -> None:
    places = [Location.model_validate(place(name, "", "", code="", at=(0, 0))) for name in ("Paris", "Parisville")]
    assert best_match(places, parse_query("Paris")).others == ()


def test_a_label_leaves_out_what_is_unknown_or_repeated() -> None:
    assert known("Singapore")[0].label == "Singapore"
    assert known("New York")[0].label == "New York, United States"


def test_a_place_without_a_country_code_lies_in_no_country() -> None:
    nowhere = Location(name="Atlantis", latitude=0, longitude=0)
    assert not any(nowhere.is_in(region) for region in ("US", "UK", "Texas", "TX"))


@pytest.mark.parametrize(
    ("nickname", "name"), [("NYC", "New York"), ("la", "Los Angeles"), ("SF", "San Francisco"), ("D.C.", "Washington")]
)
def test_common_abbreviations_are_spelled_out(nickname: str, name: str) -> None:
    query = parse_query(nickname)
    assert query.name == name
    assert best_match(known(name), query).others == ()


def test_a_name_that_nobody_knows_is_an_error_with_the_way_to_write_it() -> None:
    with pytest.raises(ToolError, match="no place called 'Paris Texas' is known; write it as 'City'"):
        best_match([], parse_query("Paris Texas"))


@pytest.mark.parametrize("city", ["", " ", "x", ",", ", Texas", "x" * 101, "Pa\x00ris", "Paris" + ", US" * 50])
def test_what_cannot_be_a_city_is_refused(city: str) -> None:
    with pytest.raises(ToolError, match="give a city of 2 to 100 characters"):
        parse_query(city)


@given(st.text())
def test_any_text_is_a_query_or_a_tool_error(city: str) -> None:
    try:
        query = parse_query(city)
    except ToolError:
        return
    assert 2 <= len(query.name) <= 100
    assert all(query.regions)
