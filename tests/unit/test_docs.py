"""The documents say what the code does."""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from bot.cli.trust import MEMORY
from bot.domain.commands import COMMANDS
from bot.keeping.files import ATTACHMENTS, LOGS, TYPED, WORKSPACES
from bot.rights.current import FILE_NAME as RULES_FILE
from bot.rights.current import load_policy
from bot.settings import Settings
from bot.stores.secret_key import FILE_NAME as KEY_FILE
from bot.stores.sqlite.store import open_sqlite
from docs.settings import page as settings_page

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = {file.stem: file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").glob("*.md"))}
RIGHTS = PAGES["rights"]
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
FOLDERS = ("bot/", "adapters/", "mcp_server/", "tests/", "docs/")
NAMES = [name.upper() for name in Settings.model_fields]


def test_env_example_lists_every_setting_in_the_order_of_the_code() -> None:
    assert re.findall(r"^#?([A-Z_]+)=", ENV_EXAMPLE, flags=re.MULTILINE) == NAMES


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert PAGES["settings"] == settings_page(), "write it again: python -m docs.settings"


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_described_in_sentences(name: str) -> None:
    description = Settings.model_fields[name.lower()].description or ""
    assert re.fullmatch(r"[A-Z`[].*[.]", description)
    assert "|" not in description  # which would end a cell of the table


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


@pytest.mark.parametrize("page", ["slack", "discord", "terminal"])
@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_the_page_of_a_platform_shows_every_command(command: str, page: str) -> None:
    assert re.search(rf"`/{command}\b", PAGES[page])


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert README.count("\n") < 200
    assert [name for name in PAGES if f"](docs/{name}.md)" not in README] == []


def test_no_document_installs_a_package_of_our_name_from_an_index() -> None:
    texts = [README, CONTRIBUTING, ENV_EXAMPLE, *PAGES.values()]
    assert [line for text in texts for line in re.findall(r".*pip install[^`\n]*[ '\"]toolbridge.*", text)] == []


def test_the_first_command_shows_what_it_does() -> None:
    (command,) = blocks(README, "sh", mark="try")
    assert "pip install" in command and " -q" not in command


@pytest.mark.parametrize("name", re.findall(r"""(?:srcset|src)="([^"]+)""", README))
def test_the_pictures_of_the_readme_are_there_in_light_and_dark(name: str) -> None:
    assert (ROOT / name).is_file()
    assert (ROOT / name.replace("-light.", "-dark.")).is_file()


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


def test_the_map_names_every_module() -> None:
    named: set[str] = set()
    for cell in re.findall(r"^\| (`[^|]+) \|", CONTRIBUTING.partition("## The life")[0], flags=re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([^`]+)`", cell):
            path = name if name.startswith(FOLDERS) else f"{folder}/{name}"
            folder = path.rpartition("/")[0] if name.startswith(FOLDERS) else folder
            named |= {path.replace("/X/", f"/{adapter}/") for adapter in ("slack", "discord", "console")}
    modules = {path for folder in ("bot", "adapters", "mcp_server") for path in (ROOT / folder).rglob("*.py")}
    assert {str(path.relative_to(ROOT)) for path in modules if path.name != "__init__.py"} <= named


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_paths_that_a_document_names_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(rf"[`(]((?:{'|'.join(FOLDERS)})[\w./-]*)[`)]", text))
    assert named
    wrong = [name for name in named if not (name.startswith("adapters/X") or "NNNN" in name or (ROOT / name).exists())]
    assert wrong == []


def blocks(text: str, language: str, *, mark: str = "") -> list[str]:
    """Return the code blocks of a document in that language, or only those below a mark such as `<!-- policy -->`."""
    above = f"<!-- {mark} -->\n" if mark else ""
    return re.findall(rf"^{above}```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("servers", [README, PAGES["tools"]], ids=["README", "tools"])
@pytest.mark.parametrize("text", [README, RIGHTS], ids=["README", "rights"])
def test_the_rules_that_a_document_shows_are_valid_with_the_servers_that_a_document_connects(
    text: str, servers: str, tmp_path: Path
) -> None:
    (rules,) = blocks(text, "toml", mark="policy")
    (mcp_json,) = blocks(servers, "json")
    file = tmp_path / "toolbridge.toml"
    file.write_text(rules, encoding="utf-8")
    policy = load_policy(file, servers=json.loads(mcp_json)["mcpServers"])
    assert policy.rules
    assert policy.warnings == ()


def test_the_budgets_that_the_page_of_rights_shows_are_valid(tmp_path: Path) -> None:
    (budgets,) = [block for block in blocks(RIGHTS, "toml") if "[budgets]" in block]
    file = tmp_path / "toolbridge.toml"
    file.write_text(f'[groups]\noncall = ["slack:T1:U1"]\n{budgets}', encoding="utf-8")
    policy = load_policy(file)
    assert policy.budgets.has_money and policy.warnings == ()
    assert policy.budgets.for_people


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        *(f"docs/{name}.md" for name in PAGES),
    ],
)
def test_the_links_of_a_document_lead_to_headings_that_are_there(document: str) -> None:
    file = ROOT / document
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", file.read_text(encoding="utf-8")):
        target = (file.parent / path) if path else file
        assert target.exists(), path
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor


def test_every_dependency_has_an_exact_version_and_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["azure"], *extras["postgres"], *extras["dev"]]:
        name = re.split(r"[<>=\[]", requirement)[0]
        assert f"\n{name.lower().replace('_', '-')}==" in constraints, name
        if requirement not in extras["dev"]:
            assert f"`{name}`" in CONTRIBUTING, name


async def test_the_table_of_what_is_kept_names_every_table_and_file_that_there_is(tmp_path: Path) -> None:
    data = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]+) \|", data, flags=re.MULTILINE)
    rows = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    async with open_sqlite(tmp_path / "a.db"):
        with closing(sqlite3.connect(tmp_path / "a.db")) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables <= rows, tables - rows
    files = {ATTACHMENTS, WORKSPACES, TYPED, LOGS, KEY_FILE, MEMORY, RULES_FILE}
    assert files <= {name.rstrip("/") for name in rows}
