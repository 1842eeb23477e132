"""What is known of a connection besides its messages."""

from __future__ import annotations

import threading

from bot.tools.config import StdioEndpoint
from bot.tools.servers.link import STDERR_LINES, Link


async def test_standard_error_can_be_shown_while_the_server_writes_more_of_it() -> None:
    link = Link(StdioEndpoint(program="noisy", label="noisy"), server="noisy", on_suspect=lambda: None)
    with link.stderr() as file:
        writing = threading.Thread(target=lambda: file.writelines(f"line {number}\n" for number in range(100_000)))
        writing.start()
        while writing.is_alive():
            assert len(link.stderr_lines) <= STDERR_LINES
        file.flush()
        await link.read_stderr()
    assert link.stderr_lines == tuple(f"line {number}" for number in range(100_000 - STDERR_LINES, 100_000))
