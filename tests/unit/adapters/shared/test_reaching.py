"""Why an address could not be reached, in words."""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.shared.reaching import unreached
from tests.fakes.mcp_servers.processes import free_port

SECRET = "https://slack.example/services/T0/secret?token=xoxb-1"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 443)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "its name cannot be resolved"),
        (ssl.SSLCertVerificationError("self-signed"), "its certificate is not accepted"),
        (TimeoutError(), "it did not answer in time"),
        (aiohttp.ServerDisconnectedError(), "ServerDisconnectedError"),
    ],
)
def test_the_host_and_the_reason_are_named_and_nothing_else(error: Exception, reason: str) -> None:
    assert unreached(error, SECRET) == f"slack.example:443: {reason}"


async def test_a_connection_that_a_machine_refuses_is_named_so() -> None:
    port = free_port()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError) as caught:
            await session.get(f"http://127.0.0.1:{port}/path")
    assert unreached(caught.value, f"http://127.0.0.1:{port}/path") == f"127.0.0.1:{port}: Connection refused"


@given(message=st.text())
def test_what_a_library_says_is_not_repeated(message: str) -> None:
    assert unreached(OSError(message), SECRET) == "slack.example:443: OSError"


@given(address=st.text())
def test_an_address_that_is_none_is_no_fault(address: str) -> None:
    assert unreached(TimeoutError(), address).endswith(": it did not answer in time")
