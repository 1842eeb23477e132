"""deploy/Dockerfile, instruction by instruction; `python -m tests.image` carries it out."""

from __future__ import annotations

import re
import subprocess

import pytest

from bot.cli.main import command_parser
from bot.settings import Settings
from tests.image.dockerfile import ROOT, is_sent, read

BUILD, IMAGE = read()
GRACE_S = 60  # what compose.yaml, the Deployment and container-apps.bicep give the bot, too
INSTALLERS = ("apt", "pip", "curl", "wget", "gcc", "npm")


def test_both_stages_begin_with_the_same_slim_image_of_an_exact_version() -> None:
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", BUILD.base)
    assert IMAGE.base == BUILD.base


def test_the_python_of_the_image_is_one_that_the_dependencies_have_wheels_for() -> None:
    assert BUILD.base.startswith(("python:3.11.", "python:3.12.", "python:3.13."))  # google-re2's


def test_everything_is_installed_as_wheels_in_the_tested_versions() -> None:
    (install,) = [step.text for step in BUILD.all("RUN") if " install " in step.text]
    assert "--only-binary=:all:" in install and "--constraint constraints.txt" in install
    assert "[azure,otel,postgres]" in install


def test_the_image_itself_installs_and_downloads_nothing() -> None:
    commands = " ".join(step.text for step in IMAGE.all("RUN"))
    assert not [name for name in INSTALLERS if re.search(rf"\b{name}\b", commands)]
    assert IMAGE.all("ADD") == [] and BUILD.all("ADD") == []


def test_the_last_user_is_not_root_and_owns_what_may_be_written() -> None:
    assert IMAGE.last("USER").text == "10001:10001"
    (users,) = [step.text for step in IMAGE.all("RUN")]
    assert "--uid 10001" in users and "--owner=10001 --group=10001 --mode=0700 /data" in users
    assert IMAGE.last("VOLUME").words == ["/data"]


def test_the_health_check_is_a_command_of_ours_with_more_time_than_it_takes() -> None:
    options, _, command = IMAGE.last("HEALTHCHECK").text.partition(" CMD ")
    assert command == '["toolbridge", "health"]'
    assert int(re.search(r"--timeout=(\d+)s", options)[1]) > 5  # type: ignore[index]


def test_it_starts_run_as_process_1_which_sigterm_reaches() -> None:
    assert IMAGE.last("STOPSIGNAL").text == "SIGTERM"
    entry, command = IMAGE.last("ENTRYPOINT"), IMAGE.last("CMD")
    assert entry.text.startswith("[") and command.text.startswith("[")  # a shell would be process 1 in the other form
    assert (entry.words, command.words) == (["toolbridge"], ["run"])
    assert command_parser().parse_args(command.words)


def test_the_time_that_is_given_to_stop_is_longer_than_answers_in_progress_take() -> None:
    assert Settings.model_fields["drain_s"].default + 10 < GRACE_S
    assert f"--stop-timeout {GRACE_S}" in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def test_the_environment_of_the_image_is_made_of_valid_settings() -> None:
    ours = {name.upper() for name in Settings.model_fields}
    set_here = {name: value for name, value in IMAGE.environment.items() if name in ours}
    settings = Settings(_env_file=None, **{name.lower(): value for name, value in set_here.items()})
    assert (settings.http_host, str(settings.http_port)) == ("0.0.0.0", IMAGE.last("EXPOSE").text)
    assert str(settings.toolbridge_home).startswith("/data/")  # a folder that the bot makes, for itself only
    assert set(IMAGE.environment) - ours == {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}


@pytest.mark.parametrize(
    "path", [".env", "toolbridge.db", ".git/config", "tests/conftest.py", "bot/__pycache__/app.pyc"]
)
def test_nothing_that_the_image_does_not_need_is_sent_to_the_build(path: str) -> None:
    assert not is_sent(path)


def test_all_that_is_copied_is_sent_to_the_build() -> None:
    copied = [name for step in BUILD.all("COPY") for name in step.words[:-1]]
    assert {"bot", "adapters", "mcp_server", "pyproject.toml"} <= set(copied)
    tracked = subprocess.run(["git", "ls-files", *copied], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = [path for path in tracked.stdout.splitlines() if not is_sent(path)]
    assert tracked.stdout and missing == []
