"""The model of the tests: the rehearsal server, told what to answer and how to fail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx2


@dataclass
class Model:
    """The rehearsal model's server, told what to answer."""

    url: str

    async def script(self, *answers: Any) -> None:
        await self._post("/control/script", {"answers": list(answers)})

    async def fail(self, kind: str, **details: Any) -> None:
        await self._post("/control/faults", {"faults": [{"kind": kind, **details}]})

    async def pace(self, **seconds: float) -> None:
        """Wait from now on: `first_token_s` before the first piece of each answer, `chunk_s` before each other one."""
        await self._post("/control/pace", seconds)

    async def requests(self) -> list[dict[str, Any]]:
        async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
            answer = await client.get(self.url.removesuffix("/v1") + "/control/requests")
            return answer.json()["requests"]

    async def _post(self, path: str, body: object) -> None:
        async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
            (await client.post(self.url.removesuffix("/v1") + path, json=body)).raise_for_status()


def calls(*names: str, **arguments: Any) -> dict[str, Any]:
    """Return a model's answer that asks for these tools, each with these arguments."""
    return {"tool_calls": [{"name": name, "arguments": arguments} for name in names]}


def spoken(content: Any) -> Any:
    """Return a question that the model was sent with "[NAME] " before its own words, for the line with its speaker."""
    if isinstance(content, list):
        return [{**part, "text": spoken(part["text"])} if "text" in part else part for part in content]
    speaker = re.match(r"⟦from [^\s?]+: (.*)⟧\n", content)
    if speaker is None:
        return content
    before, mark, own = content[speaker.end() :].rpartition("⟦The message itself:⟧\n\n")
    return f"{before}{mark}[{speaker[1]}] {own}"


def words(count: int, *, start: int = 0) -> str:
    """Return so many words of which no two are the same, in paragraphs: what is doubled or lost differs."""
    lines = [" ".join(f"word{number}" for number in range(at, at + 50)) for at in range(start, start + count, 50)]
    return "\n\n".join(lines)


def last_word(text: str) -> int:
    """Return the number of the last of such words that the text has whole."""
    return int(re.findall(r"\bw(?:ord)?(\d+)(?=\s)", text)[-1])
