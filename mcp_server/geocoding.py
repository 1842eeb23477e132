"""Geocoding: which location a person means, where several have one name."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from mcp_server.phrases import quoted

MAX_QUERY_CHARS = 100
MAX_MENTIONED = 4  # other locations of the same name

_NICKNAMES = {
    "nyc": "New York, New York, US",
    "la": "Los Angeles, California, US",
    "sf": "San Francisco, California, US",
    "dc": "Washington, DC, US",
    "washington dc": "Washington, DC, US",
}
_COUNTRIES = {"usa": "us", "uk": "gb", "uae": "ae"}  # what people write for an ISO 3166 code
_US_STATES: Mapping[str, str] = MappingProxyType(
    {
        "al": "alabama",
        "ak": "alaska",
        "az": "arizona",
        "ar": "arkansas",
        "ca": "california",
        "co": "colorado",
        "ct": "connecticut",
        "de": "delaware",
        "dc": "district of columbia",
        "fl": "florida",
        "ga": "georgia",
        "hi": "hawaii",
        "id": "idaho",
        "il": "illinois",
        "in": "indiana",
        "ia": "iowa",
        "ks": "kansas",
        "ky": "kentucky",
        "la": "louisiana",
        "me": "maine",
        "md": "maryland",
        "ma": "massachusetts",
        "mi": "michigan",
        "mn": "minnesota",
        "ms": "mississippi",
        "mo": "missouri",
        "mt": "montana",
        "ne": "nebraska",
        "nv": "nevada",
        "nh": "new hampshire",
        "nj": "new jersey",
        "nm": "new mexico",
        "ny": "new york",
        "nc": "north carolina",
        "nd": "north dakota",
        "oh": "ohio",
        "ok": "oklahoma",
        "or": "oregon",
        "pa": "pennsylvania",
        "ri": "rhode island",
        "sc": "south carolina",
        "sd": "south dakota",
        "tn": "tennessee",
        "tx": "texas",
        "ut": "utah",
        "vt": "vermont",
        "va": "virginia",
        "wa": "washington",
        "wv": "west virginia",
        "wi": "wisconsin",
        "wy": "wyoming",
    }
)


class Location(BaseModel):
    """One result of the geocoding service, which omits fields that it does not know."""

    model_config = ConfigDict(frozen=True)

    name: str
    latitude: FiniteFloat = Field(ge=-90, le=90)
    longitude: FiniteFloat = Field(ge=-180, le=180)
    admin1: str = ""
    country: str = ""
    country_code: str = ""

    @property
    def label(self) -> str:
        """`Paris, Texas, United States`, without repetitions."""
        return ", ".join(dict.fromkeys(part for part in (self.name, self.admin1, self.country) if part))

    def is_in(self, region: str) -> bool:
        """Whether `region` names this location's state or country, in full or by its code."""
        wanted, state, code = _folded(region), _folded(self.admin1), _folded(self.country_code)
        if wanted in {state, _folded(self.country), code}:
            return True
        return (code and _COUNTRIES.get(wanted) == code) or (code == "us" and _US_STATES.get(wanted) == state)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationQuery:
    """A location as people write it: a name, then the regions around it."""

    name: str
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The location that fits a query best, and the labels of others that fit it too."""

    location: Location
    others: tuple[str, ...]


def parse_query(city: str) -> LocationQuery:
    """Read `Paris`, `Paris, Texas` or `Portland, OR, US`; `NYC` and the like are spelled out.

    Raises:
        ToolError: The name is shorter than the service can search for, or too long.
    """
    spelled_out = _NICKNAMES.get(_folded(city.replace(",", " ")), city)
    name, *regions = (" ".join(part.split()) for part in spelled_out.split(","))
    if not 2 <= len(name) <= MAX_QUERY_CHARS or len(city) > MAX_QUERY_CHARS or not name.isprintable():
        raise ToolError(f"give a city of 2 to {MAX_QUERY_CHARS} characters, such as Paris or 'Paris, Texas'")
    return LocationQuery(name=name, regions=tuple(region for region in regions if region))


def best_match(locations: Sequence[Location], query: LocationQuery) -> Match:
    """Return the first of `locations`, which are ordered by relevance, that is in the query's regions.

    Raises:
        ToolError: There is none; the message names the other locations of that name.
    """
    if not locations:
        raise ToolError(f"no place called {quoted(query.name)} is known; write it as 'City' or 'City, Country'")
    fitting = [location for location in locations if all(location.is_in(region) for region in query.regions)]
    if not fitting:
        known = "; ".join(_labels(locations)[:MAX_MENTIONED])
        raise ToolError(f"no {quoted(query.name)} in {quoted(', '.join(query.regions))} is known; there is {known}")
    best = fitting[0]
    namesakes = [location for location in fitting if _folded(location.name) == _folded(best.name)]
    others = [label for label in _labels(namesakes) if label != best.label]
    return Match(location=best, others=tuple(others[:MAX_MENTIONED]))


def _labels(locations: Sequence[Location]) -> list[str]:
    return list(dict.fromkeys(location.label for location in locations))


def _folded(text: str) -> str:
    """`text` for comparing: no case, accents or full stops, single spaces."""
    decomposed = unicodedata.normalize("NFKD", text.replace(".", ""))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())
