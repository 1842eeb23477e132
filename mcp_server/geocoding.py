"""Telling places of one name apart."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from mcp_server.phrases import quoted

MAX_QUERY_CHARS = 100
MAX_MENTIONED = 4  # places of the same name

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


class Place(BaseModel):
    """One result of the geocoding service, which leaves out the fields that it does not know."""

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

    def lies_in(self, region: str) -> bool:
        """Whether `region` names this place's state or country, in full or by its code."""
        wanted, state, code = _folded(region), _folded(self.admin1), _folded(self.country_code)
        if wanted in {state, _folded(self.country), code}:
            return True
        return (code and _COUNTRIES.get(wanted) == code) or (code == "us" and _US_STATES.get(wanted) == state)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceQuery:
    """A place as people write it: a name, then regions that it lies in."""

    name: str
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The place that was taken, and the labels of others that the query fits as well."""

    place: Place
    others: tuple[str, ...]


def parse_query(city: str) -> PlaceQuery:
    """Read `Paris`, `Paris, Texas` or `Portland, OR, US`; `NYC` and the like are spelled out.

    Raises:
        ToolError: The name is shorter than the service can search for, or too long.
    """
    spelled_out = _NICKNAMES.get(_folded(city.replace(",", " ")), city)
    name, *regions = (" ".join(part.split()) for part in spelled_out.split(","))
    if not 2 <= len(name) <= MAX_QUERY_CHARS or len(city) > MAX_QUERY_CHARS or not name.isprintable():
        raise ToolError(f"give a city of 2 to {MAX_QUERY_CHARS} characters, such as Paris or 'Paris, Texas'")
    return PlaceQuery(name=name, regions=tuple(region for region in regions if region))


def choose(places: Sequence[Place], query: PlaceQuery) -> Choice:
    """Take the first of `places`, which come by relevance, that lies in the query's regions.

    Raises:
        ToolError: There is none; the message says which other places have that name.
    """
    if not places:
        raise ToolError(f"no place called {quoted(query.name)} is known; write it as 'City' or 'City, Country'")
    fitting = [place for place in places if all(place.lies_in(region) for region in query.regions)]
    if not fitting:
        known = "; ".join(_labels(places)[:MAX_MENTIONED])
        raise ToolError(f"no {quoted(query.name)} in {quoted(', '.join(query.regions))} is known; there is {known}")
    taken = fitting[0]
    namesakes = [place for place in fitting if _folded(place.name) == _folded(taken.name)]
    others = [label for label in _labels(namesakes) if label != taken.label]
    return Choice(place=taken, others=tuple(others[:MAX_MENTIONED]))


def _labels(places: Sequence[Place]) -> list[str]:
    return list(dict.fromkeys(place.label for place in places))


def _folded(text: str) -> str:
    """`text` for comparing: no case, accents or full stops, single spaces."""
    decomposed = unicodedata.normalize("NFKD", text.replace(".", ""))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())
