"""Who sent a request, behind proxies or not."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.http.peers import Peers

PEERS = Peers([ip_network("10.0.0.0/8"), ip_network("fd00::1/128")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "sender"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["6.6.6.6", "203.0.113.7, 10.2.3.4"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_the_sender_is_the_last_address_that_a_trusted_proxy_has_seen(
    peer: str, forwarded: list[str], sender: str
) -> None:
    assert PEERS.sender(peer, forwarded) == sender


@pytest.mark.parametrize("peer", ["203.0.113.9", "fd00::2", "", "nonsense"])
def test_the_word_of_a_peer_that_is_not_trusted_counts_for_nothing(peer: str) -> None:
    assert PEERS.sender(peer, ["10.0.0.1, 6.6.6.6"]) == peer


@given(st.lists(st.text(max_size=40)))
def test_any_header_names_some_sender(forwarded: list[str]) -> None:
    assert PEERS.sender("10.0.0.1", forwarded)
