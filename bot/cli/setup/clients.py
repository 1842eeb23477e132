"""Where other MCP clients keep their servers, on macOS, Linux and Windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFile:
    """A file of another client that is there."""

    client: str
    path: Path


# Below the folder of programs' data: ~/Library/Application Support, $XDG_CONFIG_HOME or %APPDATA%.
# https://modelcontextprotocol.io/docs/develop/connect-local-servers, https://code.visualstudio.com/docs/copilot/customization/mcp-servers
_IN_DATA = (
    ("Claude Desktop", "Claude/claude_desktop_config.json"),
    ("VS Code", "Code/User/mcp.json"),
    ("VS Code", "Code/User/settings.json"),
    ("VS Code Insiders", "Code - Insiders/User/mcp.json"),
    ("VSCodium", "VSCodium/User/mcp.json"),
    ("Cline", "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
    ("Roo Code", "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
)
# Below the home folder, on every system: https://docs.cursor.com/context/mcp, https://docs.windsurf.com/windsurf/cascade/mcp,
# https://docs.anthropic.com/en/docs/claude-code/mcp, https://lmstudio.ai/docs/app/plugins/mcp, https://zed.dev/docs/ai/mcp,
# https://docs.cline.bot/mcp/mcp-overview, https://kiro.dev/docs/mcp/configuration,
# https://docs.github.com/en/copilot/how-tos/copilot-cli/customize-copilot/add-mcp-servers
_IN_HOME = (
    ("Claude Code", ".claude.json"),
    ("Cursor", ".cursor/mcp.json"),
    ("Windsurf", ".codeium/windsurf/mcp_config.json"),
    ("Gemini CLI", ".gemini/settings.json"),
    ("GitHub Copilot CLI", ".copilot/mcp-config.json"),
    ("Kiro", ".kiro/settings/mcp.json"),
    ("Cline", ".cline/data/settings/cline_mcp_settings.json"),
    ("LM Studio", ".lmstudio/mcp.json"),
    ("Zed", ".config/zed/settings.json"),
)
# In the working folder.
_IN_FOLDER = (
    ("VS Code, this folder", ".vscode/mcp.json"),
    ("Cursor, this folder", ".cursor/mcp.json"),
    ("Claude Code, this folder", ".mcp.json"),
    ("Codex, this folder", ".codex/config.toml"),
    ("opencode, this folder", "opencode.json"),
    ("opencode, this folder", "opencode.jsonc"),
    ("opencode, this folder", ".opencode/opencode.json"),
    ("opencode, this folder", ".opencode/opencode.jsonc"),
    ("Gemini CLI, this folder", ".gemini/settings.json"),
    ("Kiro, this folder", ".kiro/settings/mcp.json"),
    ("Roo Code, this folder", ".roo/mcp.json"),
    ("Zed, this folder", ".zed/settings.json"),
)


def client_files(*, home: Path, folder: Path, platform: str, environ: Mapping[str, str]) -> Sequence[ClientFile]:
    """Return the files that are there; `platform` is Python's `sys.platform`."""
    data = _data_folder(home, platform=platform, environ=environ)
    places = [(name, data / path) for name, path in _IN_DATA]
    if platform == "win32":
        places.append(("Zed", data / "Zed" / "settings.json"))
    places += [(name, home / path) for name, path in _IN_HOME]
    places += _moved(home, environ)
    places += [(name, folder / path) for name, path in _IN_FOLDER]
    places += _of_continue("Continue", home) + _of_continue("Continue, this folder", folder)
    return [ClientFile(client=name, path=path) for name, path in _once(places) if path.is_file()]


def _moved(home: Path, environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    """Return the files whose folders a variable moves: https://developers.openai.com/codex/mcp, https://opencode.ai/docs/config."""
    codex = Path(environ.get("CODEX_HOME") or home / ".codex")
    opencode = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "opencode"  # on every system
    return [
        ("Codex", codex / "config.toml"),
        ("opencode", opencode / "opencode.json"),
        ("opencode", opencode / "opencode.jsonc"),
    ]


def _of_continue(name: str, folder: Path) -> list[tuple[str, Path]]:
    """Return Continue's files: https://docs.continue.dev/customize/deep-dives/mcp."""
    blocks = folder / ".continue" / "mcpServers"
    found = sorted(blocks.glob("*")) if blocks.is_dir() else []
    return [(name, path) for path in (folder / ".continue" / "config.yaml", *found)]


def _once(places: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Path]]:
    """Yield each file once, also where setup runs in the home folder."""
    seen: set[Path] = set()
    for name, path in places:
        if path not in seen:
            seen.add(path)
            yield name, path


def _data_folder(home: Path, *, platform: str, environ: Mapping[str, str]) -> Path:
    if platform == "darwin":
        return home / "Library" / "Application Support"
    if platform == "win32":
        return Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
