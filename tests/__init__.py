"""The tests, and the programs that measure and torment the bot."""

from __future__ import annotations

import signal
import threading


def _start_children_with_default_signals() -> None:
    """Keep programs that the tests start from inheriting ignored signals.

    Under `nohup`, or in the background of a script, this process starts with SIGINT or SIGHUP ignored, and an ignored
    signal stays ignored in every child. A handler does not: `exec` resets it. So a handler that does nothing takes the
    place of "ignored": this process keeps ignoring the signal, and its children can be ended by it.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # Python sets handlers only from there
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


_start_children_with_default_signals()
