"""Counting tokens: exactly where tiktoken knows the model and has its table, otherwise by an estimate."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    import tiktoken

TokenCounter = Callable[[str], int]

_MAX_EXACT_CHARS = 50_000  # longer texts are estimated: the exact count could take seconds
_CACHED_TEXTS = 2_048
_log = structlog.stdlib.get_logger(__name__)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has: rather too many than too few; 0 only for an empty text."""
    ascii_bytes = len(text.encode("ascii", "ignore"))
    other_bytes = len(text.encode("utf-8", "surrogatepass")) - ascii_bytes
    return math.ceil(ascii_bytes / 4 + other_bytes / 2)


def _load_table(model_name: str) -> tiktoken.Encoding:
    import tiktoken  # brings a regex engine and an HTTP client along

    return tiktoken.encoding_for_model(model_name)


def open_counter(model_name: str, *, load: Callable[[str], tiktoken.Encoding] = _load_table) -> TokenCounter:
    """Return a counter for the model's texts.

    It is ready at once. The table that exact counts need is loaded at the first count, in a thread of its own: tiktoken
    may fetch it from the network (or from TIKTOKEN_CACHE_DIR), which may hang or fail. Until and unless it is there,
    counts are estimates.
    """
    return _Counter(model_name, load=load)


class _Counter:
    def __init__(self, model_name: str, *, load: Callable[[str], tiktoken.Encoding]) -> None:
        self._model_name = model_name
        self._load = load
        self._count_exactly: TokenCounter | None = None
        # A daemon: a download that hangs must not keep the process from ending.
        self._loading = threading.Thread(target=self._prepare, name="tiktoken", daemon=True)

    def __call__(self, text: str) -> int:
        if self._loading.ident is None:
            self._loading.start()
        if self._count_exactly is None or len(text) > _MAX_EXACT_CHARS:
            return estimate_tokens(text)
        return self._count_exactly(text)

    def _prepare(self) -> None:
        try:
            encoding = self._load(self._model_name)
        except Exception as error:  # noqa: BLE001  (no network, no such model, a broken table: the estimate stays)
            _log.debug("tokens_are_estimated", model=self._model_name, reason=type(error).__name__)
            return

        @lru_cache(maxsize=_CACHED_TEXTS)
        def count(text: str) -> int:
            return len(encoding.encode_ordinary(text))  # special tokens in a text are plain text here

        self._count_exactly = count
