"""The MCP server: its tools and prompts, and their descriptions."""

import inspect
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Final, cast

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.types import INVALID_PARAMS, CallToolResult, GetPromptResult, InputRequiredResult, ToolAnnotations
from pydantic import Field

from mcp_server import calculator, clock, greeting, system
from mcp_server.answer import reply
from mcp_server.examples import EXAMPLES, Example
from mcp_server.weather import FORECAST_URL, GEOCODING_URL, Weather, WeatherReport
from mcp_server.workspace import MAX_FILE_BYTES, DeletedFile, FileList, FileText, SavedFile, Workspace

CONVERSATION_KEY: Final = "toolbridge/conversation"
"""The key in a request's `_meta` whose value, any non-empty string, says which conversation's files are meant."""

FORMER_KEY: Final = "toolbridge/conversation-before"
"""The key whose value is the id that the conversation had before: its files are moved to the new one, once."""

_INSTRUCTIONS = (
    "Small everyday tools. Files are text files in a folder of their own for each conversation, addressed by plain "
    "names without folders. Use calculate for arithmetic and pass a result on exactly as it was given."
)

_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_READS_THE_WEB = _READS.model_copy(update={"open_world_hint": True})
# Saving and deleting replace what was there; doing either twice leaves the same files as doing it once.
_REPLACES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

_Context = Context[Weather, Any]
_Filename = Annotated[
    str, Field(description="A plain file name such as notes.txt: no folders, no leading dot, at most 200 bytes.")
]


def build_server(
    *, workspace: Workspace, weather_api_url: str = FORECAST_URL, geocoding_api_url: str = GEOCODING_URL
) -> MCPServer[Weather]:
    """Return the server with all its tools and prompts, ready for a transport.

    Conversations' files are kept in `workspace`.
    """

    @asynccontextmanager
    async def open_weather(_: MCPServer[Weather]) -> AsyncGenerator[Weather]:
        async with Weather(forecast_url=weather_api_url, geocoding_url=geocoding_api_url) as weather:
            yield weather

    server = _Server(
        "toolbridge",
        title="Toolbridge tools",
        instructions=_INSTRUCTIONS,
        version=_version(),
        log_level="WARNING",  # below it the SDK logs what tools were asked for
        lifespan=open_weather,
    )
    _add_tools(server, FileTools(workspace))
    for example in EXAMPLES:
        server.add_prompt(_prompt(example))
    return server


def greet(
    name: Annotated[str, Field(description="The person to greet.")],
) -> Annotated[CallToolResult, greeting.Greeting]:
    """Greet a person by name."""
    return reply(greeting.greet(name))


def get_current_time(
    timezone: Annotated[
        str, Field(description="IANA time zone name such as Asia/Tokyo, Europe/London or America/New_York.")
    ] = "UTC",
) -> Annotated[CallToolResult, clock.LocalTime]:
    """Tell the current date and time in a time zone."""
    return reply(clock.local_time(timezone, now=datetime.now(UTC)))


def calculate(
    operation: Annotated[
        str,
        Field(
            description="What to do with a and b; percent gives a percent of b, modulo has the sign of b.",
            json_schema_extra={"enum": list(calculator.OPERATIONS)},
        ),
    ],
    a: Annotated[float, Field(description="The first number.")],
    b: Annotated[float, Field(description="The second number.")],
) -> Annotated[CallToolResult, calculator.Calculation]:
    """Do one arithmetic operation on two numbers (64-bit floating point)."""
    return reply(calculator.calculate(operation, a, b))


async def get_weather(
    city: Annotated[
        str, Field(description="The city, with its state or country where the name is not unique: 'Paris, Texas'.")
    ],
    context: _Context,
) -> Annotated[CallToolResult, WeatherReport]:
    """Tell the current weather in a city, from Open-Meteo."""
    return reply(await context.request_context.lifespan_context.report(city))


def get_system_info() -> Annotated[CallToolResult, system.SystemInfo]:
    """Tell how the machine that runs this server is doing: system, processors, memory, disk, uptime."""
    return reply(system.system_info())


class FileTools:
    """The tools that work on the files of the conversation that a request names."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def save_text_file(
        self,
        filename: _Filename,
        content: Annotated[str, Field(description=f"The whole new text, at most {MAX_FILE_BYTES:,} bytes in UTF-8.")],
        context: _Context,
    ) -> Annotated[CallToolResult, SavedFile]:
        """Save a text file in this conversation's folder; a file of that name is overwritten."""
        return reply(self._workspace.save(self._conversation(context), filename, content))

    def read_text_file(self, filename: _Filename, context: _Context) -> Annotated[CallToolResult, FileText]:
        """Read a text file of this conversation."""
        return reply(self._workspace.read(self._conversation(context), filename))

    def list_text_files(self, context: _Context) -> Annotated[CallToolResult, FileList]:
        """List the text files of this conversation with their sizes."""
        return reply(self._workspace.list(self._conversation(context)))

    def delete_text_file(self, filename: _Filename, context: _Context) -> Annotated[CallToolResult, DeletedFile]:
        """Delete a text file of this conversation for good."""
        return reply(self._workspace.delete(self._conversation(context), filename))

    def _conversation(self, context: _Context) -> str | None:
        conversation = _conversation(context)
        former = cast(Mapping[str, object], context.request_context.meta or {}).get(FORMER_KEY)
        if conversation is not None and isinstance(former, str) and former:
            self._workspace.adopt(conversation, former)
        return conversation


class _Server(MCPServer[Weather]):
    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: _Context | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """Return the prompt; an unknown name is the client's error, which the SDK reports as an internal one."""
        if all(prompt.name != name for prompt in await self.list_prompts()):
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name}")
        return await super().get_prompt(name, arguments, context)


def _add_tools(server: MCPServer[Weather], files: FileTools) -> None:
    for tool, title, annotations in (
        (greet, "Greet", _READS),
        (get_current_time, "Current time", _READS),
        (calculate, "Calculate", _READS),
        (files.save_text_file, "Save a text file", _REPLACES),
        (files.read_text_file, "Read a text file", _READS),
        (files.list_text_files, "List text files", _READS),
        (files.delete_text_file, "Delete a text file", _REPLACES),
        (get_weather, "Weather", _READS_THE_WEB),
        (get_system_info, "System information", _READS),
    ):
        server.add_tool(tool, title=title, description=inspect.getdoc(tool), annotations=annotations)


def _prompt(example: Example) -> Prompt:
    def request() -> str:
        return example.request

    return Prompt.from_function(request, name=example.name, title=example.title, description=example.description)


def _conversation(context: _Context) -> str | None:
    """The conversation that the request names, None when it names none.

    An unusable value is refused: its caller would share files without knowing it.
    """
    meta = cast(Mapping[str, object], context.request_context.meta or {})
    if CONVERSATION_KEY not in meta:
        return None
    conversation = meta[CONVERSATION_KEY]
    if not isinstance(conversation, str) or not conversation:
        raise ToolError(f"the client must send a non-empty string as {CONVERSATION_KEY} in _meta, or nothing")
    return conversation


def _version() -> str:
    try:
        return version("toolbridge")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
