"""Draws the README's picture from a real conversation: `python docs/pictures.py` writes docs/chat.svg."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from adapters.console import render

QUESTIONS = (
    "Calculate 15 * 8 and save the result to a file called calculation.txt",
    "then multiply that by 3",
    "What time is it in Tokyo?",
)


def main() -> None:
    """Ask the questions in a fresh home folder and draw what a terminal shows."""
    console = Console(record=True, width=92, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    with tempfile.TemporaryDirectory() as home:
        for question in QUESTIONS:
            ran = subprocess.run(  # noqa: S603  (our own command)
                [sys.executable, "-m", "bot", "chat", "--model", "rehearsal", "-m", question],
                env={**os.environ, "TOOLBRIDGE_HOME": home, "COLUMNS": "92"},
                capture_output=True,
                check=True,
                encoding="utf-8",
            )
            trace = [line for line in ran.stderr.splitlines() if line.startswith("  ")]
            console.print(Text(f"> {question}", style="bold"))
            console.print(Text("\n".join(trace), style="dim"))
            console.print(Padding(render.markdown(ran.stdout), (1, 0)))
    console.save_svg(str(Path(__file__).with_name("chat.svg")), title="toolbridge chat")


if __name__ == "__main__":
    main()
