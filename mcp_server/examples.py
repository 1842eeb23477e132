"""Conversations to try, offered as MCP prompts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One request that shows what the tools can do together."""

    name: str
    title: str
    description: str
    request: str


EXAMPLES = (
    Example(
        name="time_in_tokyo",
        title="Time somewhere else",
        description="One tool: the time in another time zone.",
        request="What time is it in Tokyo?",
    ),
    Example(
        name="greet_and_time",
        title="Two tools at once",
        description="A greeting and a time, asked for together.",
        request="Greet Ada and tell me the time in London",
    ),
    Example(
        name="calculate_and_save",
        title="Calculate and save",
        description="The result of one tool goes into the next: a calculation, then a file.",
        request="Calculate 15 * 8 and save the result to a file called calculation.txt",
    ),
    Example(
        name="summary_file",
        title="Three tools, one file",
        description="A calculation and the weather side by side, then both in one file.",
        request="Calculate 50 / 2, tell me the weather in NYC, and save both results to summary.txt",
    ),
    Example(
        name="my_files",
        title="Look into my files",
        description="Lists the files of this conversation and reads them.",
        request="What files do I have, and what is in them?",
    ),
    Example(
        name="machine_health",
        title="Machine health",
        description="Processor, memory, disk and uptime of the machine that runs the tools.",
        request="How is this machine doing?",
    ),
)
