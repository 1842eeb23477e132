"""Logs: one parseable line per event, no secret in it, and nothing of other libraries' chatter."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.observe.logs import KEPT_FILES, MAX_FILE_BYTES, configure_logs
from bot.text.redaction import HIDDEN

SECRET = "xoxb" + "-1111111111-abcdefgh"


pytestmark = pytest.mark.usefixtures("process_as_before")


def logged(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def configure_file(path: Path, *, level: str = "INFO") -> structlog.stdlib.BoundLogger:
    configure_logs(log_format="json", level=level, file=path)
    return structlog.stdlib.get_logger("bot.test")


def test_a_line_on_the_terminal_is_one_line_that_nothing_in_it_can_leave_or_turn_around(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs(log_format="console", level="INFO")
    structlog.stdlib.get_logger("bot.test").info("tool_failed", server="a\u202eb\x9b2Jc\n2026 [info] fine\x1b[2J")
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and shown.strip().isprintable() and "abc 2026 [info] fine" in shown


def test_each_event_is_one_line_of_json_with_its_time_level_and_values(tmp_path: Path) -> None:
    log = configure_file(tmp_path / "a.log")
    with structlog.contextvars.bound_contextvars(turn=7):
        log.info("turn", outcome="answered", seconds=0.25, text="two\nlines \u2028 \ud83d")
    log.debug("not told")
    (line,) = logged(tmp_path / "a.log")
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("text").startswith("two\nlines \u2028 ")
    assert line == {
        "event": "turn",
        "level": "info",
        "logger": "bot.test",
        "turn": 7,
        "outcome": "answered",
        "seconds": 0.25,
    }


def test_lines_of_other_libraries_have_the_same_form(tmp_path: Path) -> None:
    configure_file(tmp_path / "a.log")
    logging.getLogger("some.library").warning("found %d of %s", 3, SECRET)
    (line,) = logged(tmp_path / "a.log")
    assert (line["event"], line["level"], line["logger"]) == (f"found 3 of {HIDDEN}", "warning", "some.library")


def test_no_secret_is_written_wherever_it_stands(tmp_path: Path) -> None:
    log = configure_file(tmp_path / "a.log")
    log.info(f"with {SECRET}", url=f"https://ann:{SECRET}@h/", values=[SECRET, {"deep": (SECRET,)}])
    log.warning("failed", error=ValueError(SECRET))
    try:
        raise ValueError(f"token={SECRET}")
    except ValueError:
        log.exception("failed")
        logging.getLogger("some.library").exception("failed")
    text = (tmp_path / "a.log").read_text(encoding="utf-8")
    assert SECRET not in text and SECRET[:12] not in text
    assert len(logged(tmp_path / "a.log")) == 4
    for line in logged(tmp_path / "a.log")[2:]:
        assert "Traceback" in line["exception"] and HIDDEN in line["exception"]


def test_no_secret_is_written_as_a_key_or_within_a_value_of_any_type(tmp_path: Path) -> None:
    log = configure_file(tmp_path / "a.log")
    log.warning("odd", names={SECRET: {SECRET: 1}}, data=SECRET.encode(), several={SECRET}, file=Path("/a") / SECRET)
    assert SECRET not in (tmp_path / "a.log").read_text(encoding="utf-8")
    assert logged(tmp_path / "a.log")[0]["names"] == {HIDDEN: {HIDDEN: 1}}


def test_libraries_are_told_from_warnings_on_also_when_we_debug(tmp_path: Path) -> None:
    configure_file(tmp_path / "a.log", level="DEBUG")
    for name in ("discord.gateway", "markdown_it.rules_block.code", "mcp", "openai", "some.library"):
        logging.getLogger(name).info("chatter of %s", name)
        logging.getLogger(name).warning("trouble")
    for name in ("bot", "adapters.slack.sockets", "mcp_server.listener"):
        logging.getLogger(name).debug("ours")
    assert [line["event"] for line in logged(tmp_path / "a.log")] == ["trouble"] * 5 + ["ours"] * 3


def test_a_level_above_warnings_holds_for_libraries_too(tmp_path: Path) -> None:
    configure_file(tmp_path / "a.log", level="ERROR")
    logging.getLogger("some.library").warning("trouble")
    logging.getLogger("some.library").error("an error")
    assert [line["event"] for line in logged(tmp_path / "a.log")] == ["an error"]


def test_a_log_file_is_kept_small_by_rotation(tmp_path: Path) -> None:
    log = configure_file(tmp_path / "logs" / "a.log")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.handlers.RotatingFileHandler)
    assert (handler.maxBytes, handler.backupCount) == (MAX_FILE_BYTES, KEPT_FILES)
    handler.maxBytes = 2_000
    for number in range(12):
        log.info("long", number=number, text="x" * 1_500)
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == KEPT_FILES + 1
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["file/a.log", "folder"])
def test_a_log_file_that_cannot_be_made_stops_nothing_and_says_nothing(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    log = configure_file(tmp_path / place)
    log.info("hello")
    assert capsys.readouterr() == ("", "")


def test_without_a_file_logs_go_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logs(log_format="json", level="INFO")
    structlog.stdlib.get_logger("bot.test").info("hello", number=1)
    assert json.loads(stderr.getvalue())["number"] == 1


def test_on_a_console_a_line_is_plain_text_for_people(tmp_path: Path) -> None:
    configure_logs(log_format="console", level="INFO", file=tmp_path / "a.log")
    structlog.stdlib.get_logger("bot.test").info("hello", key=SECRET)
    line = (tmp_path / "a.log").read_text(encoding="utf-8")
    assert "hello" in line and HIDDEN in line
    assert SECRET not in line and "\x1b" not in line
