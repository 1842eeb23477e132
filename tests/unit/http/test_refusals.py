"""What is refused is one line a minute."""

from __future__ import annotations

from structlog.testing import capture_logs

from bot.http.refusals import MAX_PEERS, Refusals


def test_refusals_are_counted_into_one_line_a_minute_with_the_address_that_sent_the_most() -> None:
    now = 100.0
    refusals = Refusals(now=lambda: now)
    with capture_logs() as logged:
        refusals.tell()
        refusals.count("not_valid", peer="203.0.113.7")
        refusals.tell()
        for _ in range(3):
            refusals.count("slow_head", peer="203.0.113.8")
            refusals.count("no_descriptor")
            refusals.tell()
        assert len(logged) == 1
        now = 160.0
        refusals.tell()
        refusals.count("not_signed", peer="203.0.113.7")
        refusals.tell()
        refusals.tell(at_once=True)
        refusals.tell(at_once=True)
    assert [(line["event"], line["reasons"], line["peers"], line["most_from"]) for line in logged] == [
        ("http_refused", {"not_valid": 1}, 1, "203.0.113.7"),
        ("http_refused", {"slow_head": 3, "no_descriptor": 3}, 1, "203.0.113.8"),
        ("http_refused", {"not_signed": 1}, 1, "203.0.113.7"),
    ]


def test_very_many_addresses_are_not_all_remembered() -> None:
    refusals = Refusals()
    with capture_logs() as logged:
        for number in range(MAX_PEERS + 10):
            refusals.count("not_http", peer=str(number))
        refusals.tell()
    assert (logged[0]["reasons"], logged[0]["peers"]) == ({"not_http": MAX_PEERS + 10}, MAX_PEERS)
