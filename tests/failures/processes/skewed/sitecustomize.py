"""Sets the wall clock of the process that finds this on its path: AHEAD_S seconds ahead, or behind where negative.

Python imports it before anything else: https://docs.python.org/3/library/site.html#module-sitecustomize
"""

from __future__ import annotations

import os
import time

_AHEAD_S = float(os.environ.get("AHEAD_S", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _AHEAD_S
time.time_ns = lambda: _time_ns() + int(_AHEAD_S * 1e9)
