"""What makes `toolbridge run` start soon and keeps it small. It imports nothing, so that it can be imported first."""

from __future__ import annotations

import gc
import sys
from importlib import import_module


def start_lean() -> None:
    """Prepare for the imports of `run`; `exempt_what_stays` ends it.

    The garbage collector is off: what is imported stays, and it would walk through all of it again and again. structlog
    does without rich: it would import it, with pygments, for tracebacks that no log of ours shows.
    """
    gc.disable()
    if "structlog" not in sys.modules and "rich" not in sys.modules:
        # None makes an import fail: https://docs.python.org/3/reference/import.html#the-module-cache
        sys.modules["rich"] = None  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
        try:
            import_module("structlog")
        finally:
            del sys.modules["rich"]


def exempt_what_stays() -> None:
    """Keep the garbage collector from walking through what stays to the end, modules above all.

    That takes a tenth of a second, in which everything else waits, each time that much has come and gone.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
