"""The documents say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bot.domain.commands import COMMANDS
from bot.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
FOLDERS = ("bot/", "adapters/", "mcp_server/", "tests/", "docs/")
NAMES = [name.upper() for name in Settings.model_fields]


def test_env_example_lists_every_setting_in_the_order_of_the_code() -> None:
    assert re.findall(r"^#?([A-Z_]+)=", ENV_EXAMPLE, flags=re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_explains_every_setting(name: str) -> None:
    assert f"`{name}`" in README


def test_env_example_shows_the_defaults_of_numbers_and_choices() -> None:
    shown = dict(re.findall(r"^#([A-Z_]+)=(.+)$", ENV_EXAMPLE, flags=re.MULTILINE))
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | float | str) and field.default != "":
            default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert shown[name.upper()] == (default.lower() if isinstance(field.default, bool) else default)


def test_every_example_setting_is_accepted(tmp_path: Path) -> None:
    text = re.sub(r"^#([A-Z_]+=.+)$", r"\1", ENV_EXAMPLE, flags=re.MULTILINE)
    file = tmp_path / ".env"
    file.write_text(text, encoding="utf-8")
    settings = Settings(_env_file=file)
    assert settings.max_tool_rounds == Settings.model_fields["max_tool_rounds"].default


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_the_readme_shows_every_command(command: str) -> None:
    assert re.search(rf"`/{command}\b", README)


@pytest.mark.parametrize("platform", ["slack", "discord"])
def test_the_files_that_the_map_names_are_there(platform: str) -> None:
    for cell in re.findall(r"^\| (`[^|]+) \|", CONTRIBUTING.partition("## The life")[0], flags=re.MULTILINE):
        folder = ROOT
        for name in re.findall(r"`([^`]+)`", cell):
            path = ROOT / name.replace("adapters/X", f"adapters/{platform}")
            if name.startswith(FOLDERS):
                folder = path.parent
            else:
                path = folder / name
            assert path.exists(), name


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_paths_that_a_document_names_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(rf"[`(]((?:{'|'.join(FOLDERS)})[\w./-]*)[`)]", text))
    assert named
    wrong = [name for name in named if not (name.startswith("adapters/X") or "NNNN" in name or (ROOT / name).exists())]
    assert wrong == []


def test_the_modules_that_the_documents_run_are_there() -> None:
    modules = re.findall(r"python -m ((?:tests|docs|mcp_server)[\w.]*)", README + CONTRIBUTING)
    assert "tests.fakes.openai" in modules
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_every_dependency_has_an_exact_version_and_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["azure"], *extras["dev"]]:
        name = re.split(r"[<>=\[]", requirement)[0]
        assert f"\n{name.lower().replace('_', '-')}==" in constraints, name
        if requirement not in extras["dev"]:
            assert f"`{name}`" in CONTRIBUTING, name
