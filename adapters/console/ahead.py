"""What is typed while a turn is drawn: seen as it is typed, and kept for the next prompt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from typing import TextIO

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys


class TypedAhead:
    """The keys that were pressed since the last prompt."""

    def __init__(self, source: Input, *, stdin: TextIO) -> None:
        self._source = source
        self._is_readable = stdin.isatty()
        self._keys: list[KeyPress] = []

    @property
    def text(self) -> str:
        """What is being typed, as far as that can be told without a prompt; empty while one is shown."""
        return typed(self._keys)

    @contextmanager
    def gathering(self, changed: Callable[[], None]) -> Generator[None]:
        """Read keys while the block runs, and call `changed` whenever there are some; the next prompt gets them."""

        def take() -> None:
            self._keys += self._source.read_keys()
            changed()

        self._keys = get_typeahead(self._source)
        with ExitStack() as stack:
            if self._is_readable:
                stack.callback(self._flush)
                with suppress(EOFError):  # the terminal is gone: the prompt finds out by itself
                    stack.enter_context(self._source.attach(take))
            stack.callback(self._hand_over)
            yield

    def take_line(self) -> str:
        """Return what the next prompt would get, without the Enter at its end, and keep it from the prompt."""
        return typed(get_typeahead(self._source)).strip("\n")

    def _flush(self) -> None:
        store_typeahead(self._source, self._source.flush_keys())

    def _hand_over(self) -> None:
        keys, self._keys = self._keys, []
        store_typeahead(self._source, keys)


def sent_early(source: Input) -> None:
    """Have Enter mean Enter in what was typed before the terminal was held: it has become Ctrl-J by then."""
    keys = source.read_keys()
    entered = [KeyPress(Keys.ControlM, "\r") if press.key == Keys.ControlJ else press for press in keys]
    store_typeahead(source, entered)


def typed(keys: Iterable[KeyPress]) -> str:
    """Return the text that the keys write, with a line break where Enter was pressed."""
    text = ""
    for press in keys:
        match press.key:
            case Keys.Backspace | Keys.ControlH:
                text = text[:-1]
            case Keys.ControlU:
                text = text[: text.rfind("\n") + 1]
            case Keys.BracketedPaste:
                text += press.data.replace("\r\n", "\n").replace("\r", "\n")
            case Keys.ControlM | Keys.ControlJ:
                text += "\n"
            case Keys():
                pass  # moves, or does something only a prompt can
            case character:
                text += character
    return text
