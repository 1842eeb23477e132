"""The command line: `python -m mcp_server`."""

import gc
import logging
import os
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mcp_server.bearer import TokenError, is_loopback, read_token

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from mcp_server.workspace import Workspace

# A PostgreSQL database that keeps the files instead of a folder; the schema of its table; `entra` where tokens of Entra
# ID are its passwords. They are no options: others may see the command line of a process.
FILES_URL = "TOOLBRIDGE_FILES_URL"
FILES_SCHEMA = "TOOLBRIDGE_FILES_SCHEMA"
FILES_AUTH = "TOOLBRIDGE_FILES_AUTH"

_HTTP = "streamable-http"
_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = 8000


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the bundled tools over MCP until the client leaves or a signal comes.

    Raises:
        SystemExit: 2 for bad usage, 3 when the address cannot be bound, 0 after a signal.
    """
    options = _parse(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    gc.disable()  # imports make objects that all stay: collecting meanwhile takes a third of the start
    server = _server(options)
    gc.freeze()
    gc.enable()
    if options.transport == _HTTP:
        from mcp_server.listener import serve_http

        serve_http(
            server,
            host=_DEFAULT_HOST if options.host is None else options.host,
            port=_DEFAULT_PORT if options.port is None else options.port,
            allowed_hosts=options.allowed_host or (),
            token=options.token_file or "",
        )
    else:
        _serve_stdio(server)


def _server(options: Namespace) -> "MCPServer[Any]":
    from mcp_server.server import build_server  # late: it takes a second to import, and --help does without
    from mcp_server.weather import FORECAST_URL, GEOCODING_URL

    return build_server(
        workspace=_workspace(options.workspace),
        weather_api_url=os.environ.get("WEATHER_API_URL") or FORECAST_URL,
        geocoding_api_url=os.environ.get("GEOCODING_API_URL") or GEOCODING_URL,
    )


def _workspace(folder: Path | None) -> "Workspace":
    """Return what keeps the files: the folder that was named, a database that the bot names, or the home folder."""
    url = os.environ.pop(FILES_URL, "")  # what this process starts does not get it
    if url and folder is None:
        try:
            from mcp_server.connection import LoginError
            from mcp_server.database import DEFAULT_SCHEMA, DatabaseWorkspace
        except ImportError:
            sys.exit("Files are kept in PostgreSQL, which needs another package: pip install 'toolbridge[postgres]'")

        try:
            return DatabaseWorkspace(
                url, schema=os.environ.get(FILES_SCHEMA) or DEFAULT_SCHEMA, password=_passwords(url)
            )
        except LoginError as error:
            sys.exit(f"{FILES_URL}: {error}")
    from mcp_server.folder import FolderWorkspace

    return FolderWorkspace(folder or _default_folder())


def _passwords(url: str) -> Callable[[], str] | None:
    if os.environ.get(FILES_AUTH) != "entra":
        return None
    from mcp_server.entra import entra_passwords

    return entra_passwords(url)


def _default_folder() -> Path:
    from platformdirs import user_data_path

    home = os.environ.get("TOOLBRIDGE_HOME")
    data = Path(home).expanduser() if home else user_data_path("toolbridge", appauthor=False)
    return data.absolute() / "workspaces"


def _serve_stdio(server: "MCPServer[Any]") -> None:
    if sys.stdin.isatty():
        print(f"waiting for an MCP client on standard input; --transport {_HTTP} serves HTTP", file=sys.stderr)  # noqa: T201
    for stop in (signal.SIGINT, signal.SIGTERM):
        # A thread waits in a read of standard input that nothing can interrupt, so an orderly exit would hang.
        signal.signal(stop, _leave_at_once)
    server.run("stdio")


def _leave_at_once(_signal: int, _frame: FrameType | None) -> None:
    os._exit(0)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m mcp_server", description="Toolbridge's bundled tools as an MCP server.")
    parser.add_argument("--transport", choices=["stdio", _HTTP], default="stdio", help="default: stdio")
    parser.add_argument("--host", help=f"address to listen on; default: {_DEFAULT_HOST}")
    parser.add_argument("--port", type=_port, help=f"port to listen on, 0 for any free one; default: {_DEFAULT_PORT}")
    parser.add_argument(
        "--allowed-host",
        action="append",
        type=_host_name,
        metavar="HOST",
        help="name that clients reach this server by, beside localhost; may be repeated",
    )
    parser.add_argument(
        "--token-file",
        type=_token,
        metavar="FILE",
        help="a file with the bearer token that clients must send; needed where other machines reach this server",
    )
    parser.add_argument("--workspace", type=_folder, metavar="DIR", help="where files are kept")
    options = parser.parse_args(arguments)
    given_for_http = [options.host, options.port, options.allowed_host, options.token_file]
    if options.transport != _HTTP and any(given is not None for given in given_for_http):
        parser.error(f"--host, --port, --allowed-host and --token-file need --transport {_HTTP}")
    if options.host is not None and not is_loopback(options.host) and options.token_file is None:
        parser.error(
            f"other machines can reach {options.host or 'all addresses'}: write a long random token into a file that "
            "only you can read, give it as --token-file FILE, and give it to clients as the header "
            "`Authorization: Bearer TOKEN`"
        )
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _token(file: str) -> str:
    try:
        return read_token(Path(file))
    except TokenError as error:
        raise ArgumentTypeError(str(error)) from error


def _host_name(text: str) -> str:
    if not text or any(char in text for char in "/*@ "):
        raise ArgumentTypeError(f"{text!r} is not a host name such as tools.example.org")
    return text


def _folder(text: str) -> Path:
    folder = Path(text)
    if not text or (folder.exists() and not folder.is_dir()):
        raise ArgumentTypeError(f"{text!r} is not a folder")
    return folder.absolute()


if __name__ == "__main__":
    main()
