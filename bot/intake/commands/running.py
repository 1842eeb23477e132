"""`/run SERVER/TOOL`: a call that a person makes without the model, with a form for its arguments."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence

from bot.domain.answers import CommandAnswer, Ready
from bot.domain.events import RunRequest
from bot.domain.forms import Form
from bot.domain.messages import ToolSpec
from bot.domain.people import Asker
from bot.forms.making import form_of
from bot.forms.schemas import read_schema
from bot.intake.access import Access
from bot.intake.commands.phrases import code, plain
from bot.ports.tools import ServerStatus, ToolDirectory
from bot.rights.facts import read_arguments
from bot.text.redaction import redact

HOW = "Name a tool as `run SERVER/TOOL`; `tools` shows them. Arguments may follow as a JSON object."

MAX_NAMED = 10  # arguments that are missing


async def answer_run(tools: ToolDirectory, *, access: Access, asker: Asker, argument: str) -> CommandAnswer:
    """Return the form for the tool's arguments, or the call where they are given or there are none to give.

    A tool that there is, but not for the asker here, is refused as if there were none; the audit has it.
    """
    name, _, arguments = argument.strip().partition(" ")
    if not name:
        return CommandAnswer(text=HOW)
    offered = (await tools.offer(asker)).tools
    spec = find_tool(offered, name)
    if spec is None:
        if (denied := find_tool((await tools.offer(None)).tools, name)) is not None:
            await access.note(asker, kind="refused", outcome="run", server=denied.server, tool=denied.tool)
        return CommandAnswer(text=_absent(tools.status(), name) or _unknown(offered, name))
    if arguments.strip():
        parsed = read_arguments(arguments)
        if parsed is None:
            return CommandAnswer(text=f"What follows {code(name)} is not one JSON object. {HOW}")
        if missing := _missing(spec, parsed):
            return CommandAnswer(text=_incomplete(spec, missing))
        return CommandAnswer(text="", ready=ready(spec, parsed))
    if not spec.parameters.get("properties"):
        return CommandAnswer(text="", ready=ready(spec, {}))
    return CommandAnswer(text=f"{code(f'{spec.server}/{spec.tool}')} needs its arguments.", form=run_form(spec))


def find_tool(offered: Sequence[ToolSpec], name: str) -> ToolSpec | None:
    """Return the tool: by `server/tool`, `server.tool`, the namespaced name, or its own where only one has it."""
    for spec in offered:
        if name in (f"{spec.server}/{spec.tool}", f"{spec.server}.{spec.tool}", spec.name):
            return spec
    alike = [spec for spec in offered if spec.tool == name]
    return alike[0] if len(alike) == 1 else None


def run_form(spec: ToolSpec) -> Form:
    """Return the form for the arguments of a call."""
    title = f"{spec.server}/{spec.tool}"
    return form_of(spec.parameters, target=f"run:{spec.name}", title=title, submit="Run")


def ready(spec: ToolSpec, arguments: Mapping[str, object]) -> Ready:
    """Return the call with these arguments, and how it is said, for all who read along: without secrets."""
    written = json.dumps(arguments, ensure_ascii=False)
    said = f"/run {spec.server}/{spec.tool}" + (f" {written}" if arguments else "")
    return Ready(run=RunRequest(name=spec.name, arguments=written), text=redact(said))


def _missing(spec: ToolSpec, arguments: Mapping[str, object]) -> Sequence[str]:
    """Return the arguments that the tool's schema requires and that are not given; their types are the server's."""
    properties = read_schema(spec.parameters).properties.values()
    return [prop.name for prop in properties if prop.is_required and prop.name not in arguments]


def _incomplete(spec: ToolSpec, missing: Sequence[str]) -> str:
    name = f"{spec.server}/{spec.tool}"
    more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
    named = f"{', '.join(map(code, missing[:MAX_NAMED]))}{more}"
    form = f"{code(f'run {name}')} without arguments shows a form for all of them."
    return f"{code(name)} was not run: it needs {named} too. {form}"


def _absent(statuses: Sequence[ServerStatus], name: str) -> str:
    """Return that the server of the tool cannot be reached and why, as a sentence; empty where that is not the case."""
    replicas = [status for status in statuses if name.startswith((f"{status.server}/", f"{status.server}."))]
    if not replicas or any(status.state == "ready" for status in replicas):
        return ""
    reason = plain(replicas[0].detail.rstrip(".") or replicas[0].state)
    return f"The tool server {code(replicas[0].server)} is not ready: {reason}. Please try again in a minute."


def _unknown(offered: Sequence[ToolSpec], name: str) -> str:
    names = [f"{spec.server}/{spec.tool}" for spec in offered]
    near = difflib.get_close_matches(name, names, n=3)
    hint = f" Did you mean {' or '.join(map(code, near))}?" if near else ""
    return f"You cannot use a tool {code(name)} here.{hint} {HOW}"
