"""The result of every tool: data for programs and one sentence for people."""

from abc import abstractmethod

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A tool's findings; the fields are its structured content, units are in their names."""

    model_config = ConfigDict(frozen=True)

    @abstractmethod
    def sentence(self) -> str:
        """The same findings in words, for a person or a model to read."""


def reply(answer: Answer) -> CallToolResult:
    """The result of a tool call: the sentence as text, the fields as structured content."""
    text = TextContent(type="text", text=answer.sentence())
    return CallToolResult(content=[text], structured_content=answer.model_dump(mode="json"))
