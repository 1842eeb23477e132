"""Any document as TOML, with inline tables throughout: Python reads TOML and does not write it."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any


def dumps(document: dict[str, Any]) -> str:
    """Return the document; what TOML cannot hold becomes what it can."""
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in document.items())


def _value(value: Any) -> str:
    match value:
        case str():
            return _text(value)
        case bool():
            return str(value).lower()
        case float():
            return repr(value) if math.isfinite(value) else "nan" if math.isnan(value) else "inf"
        case datetime():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_text(key)} = {_value(item)}' for key, item in value.items())} }}"
        case _:
            return str(value)


def _text(text: str) -> str:
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")
