"""A friendly word."""

from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.answer import Answer

MAX_NAME_CHARS = 100


class Greeting(Answer):
    """A greeting for one person."""

    name: str
    greeting: str

    def sentence(self) -> str:
        """The greeting itself."""
        return self.greeting


def greet(name: str) -> Greeting:
    """Greet `name`, with runs of white space in it made single spaces.

    Raises:
        ToolError: The name is empty, longer than `MAX_NAME_CHARS` or has control characters.
    """
    plain = " ".join(name.split())
    if not plain or len(plain) > MAX_NAME_CHARS or not plain.isprintable():
        raise ToolError(f"give a name of 1 to {MAX_NAME_CHARS} printable characters")
    return Greeting(name=plain, greeting=f"Hello, {plain}! Nice to meet you.")
