"""Why a scenario cannot pass as it stands: what it wants that this product does not have, in plain words.

A note excuses exactly the checks it names. Any other check that does not succeed is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.conformance.suite import Scenario

Kind = Literal["fixture", "feature", "part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The reason, and the checks that need not succeed."""

    kind: Kind  # "part": the scenario counts, but for these checks
    reason: str
    excused: frozenset[str] = frozenset()
    is_run: bool = True


def note_of(scenario: Scenario) -> Note | None:
    """Return what is to be said of a scenario; None where all its checks have to succeed."""
    notes = _SERVER if scenario.side == "server" else _CLIENT
    prefixes = _SERVER_FAMILIES if scenario.side == "server" else _CLIENT_FAMILIES
    families = (note for prefix, note in prefixes.items() if scenario.name.startswith(prefix))
    return notes.get(scenario.name) or next(families, None)


def _fixture(what: str, *excused: str) -> Note:
    return Note(kind="fixture", reason=f"asks for {what}", excused=frozenset(excused))


def _absent(reason: str) -> Note:
    return Note(kind="feature", reason=reason, is_run=False)


_SERVER_FAMILIES: Mapping[str, Note] = {
    "tasks-": _absent("an extension (tasks) that the server does not declare; not run"),
    "sep-2640-": _absent("an extension (skills) that the server does not declare; not run"),
}
_CLIENT_FAMILIES: Mapping[str, Note] = {
    "auth/": _absent(
        "OAuth: a tool server gets the headers that mcp.json has for it, the bot signs in nowhere; not run"
    ),
    "sep-2640-": _absent("an extension (skills) that the client does not declare; not run"),
}

_VACUOUS = "; without it the answer is an error result, which satisfies the scenario and shows nothing"
_QUESTION_TOOL = "the tool test_input_required_result_elicitation"

_SERVER: Mapping[str, Note] = {
    "server-stateless": Note(
        kind="part",
        reason="the other checks ask for the tools test_missing_capability (undeclared capability, its HTTP status), "
        "test_trigger_prompt_change and test_trigger_tool_change (notifications of a list that changes)",
        excused=frozenset(
            {
                "sep-2575-server-rejects-undeclared-capability",
                "sep-2575-missing-capability-http-400",
                "sep-2575-server-sends-prompts-list-changed-on-subscription",
                "sep-2575-server-sends-tools-list-changed-on-subscription",
            }
        ),
    ),
    "logging-set-level": Note(
        kind="feature",
        reason="the server sends no log messages, so it declares no `logging` capability (optional, deprecated in "
        "2026-07-28) and answers -32601 Method not found; the suite asks without looking at the capabilities",
        excused=frozenset({"logging-set-level"}),
    ),
    "completion-complete": _fixture(
        "the prompt test_prompt_with_arguments; the server's own prompts take no arguments, so it declares no "
        "`completions` capability (optional) and answers -32601 Method not found",
        "completion-complete",
    ),
    "tools-call-simple-text": _fixture(f"the tool test_simple_text{_VACUOUS}"),
    "tools-call-image": _fixture("the tool test_image_content", "tools-call-image"),
    "tools-call-audio": _fixture("the tool test_audio_content", "tools-call-audio"),
    "tools-call-embedded-resource": _fixture("the tool test_embedded_resource", "tools-call-embedded-resource"),
    "tools-call-mixed-content": _fixture("the tool test_multiple_content_types", "tools-call-mixed-content"),
    "tools-call-with-logging": _fixture(
        "the tool test_tool_with_logging, and for the `logging` capability (see logging-set-level)",
        "tools-call-with-logging",
    ),
    "tools-call-error": _fixture(f"the tool test_error_handling{_VACUOUS}"),
    "tools-call-with-progress": _fixture("the tool test_tool_with_progress", "tools-call-with-progress"),
    "tools-call-sampling": _fixture("the tool test_sampling", "tools-call-sampling"),
    "tools-call-elicitation": _fixture("the tool test_elicitation", "tools-call-elicitation"),
    "json-schema-2020-12": _fixture("the tool json_schema_2020_12_tool", "json-schema-2020-12-tool-found"),
    "elicitation-sep1034-defaults": _fixture(
        "the tool test_elicitation_sep1034_defaults", "elicitation-sep1034-general"
    ),
    "elicitation-sep1330-enums": _fixture("the tool test_elicitation_sep1330_enums", "elicitation-sep1330-general"),
    "server-sse-polling": _fixture(
        "the tool test_reconnection, and for answers as event streams; the server answers in JSON, as it may"
    ),
    "resources-read-text": _fixture("the resource test://static-text", "resources-read-text"),
    "resources-read-binary": _fixture("the resource test://static-binary", "resources-read-binary"),
    "resources-templates-read": _fixture("the resource test://template/123/data", "resources-templates-read"),
    "resources-subscribe": _fixture(
        "the resource test://watched-resource; the server has no resources and declares no subscriptions to them",
        "resources-subscribe",
    ),
    "resources-unsubscribe": _fixture(
        "the resource test://watched-resource; the server has no resources and declares no subscriptions to them",
        "resources-unsubscribe",
    ),
    "prompts-get-simple": _fixture("the prompt test_simple_prompt", "prompts-get-simple"),
    "prompts-get-with-args": _fixture("the prompt test_prompt_with_arguments", "prompts-get-with-args"),
    "prompts-get-embedded-resource": _fixture(
        "the prompt test_prompt_with_embedded_resource", "prompts-get-embedded-resource"
    ),
    "prompts-get-with-image": _fixture("the prompt test_prompt_with_image", "prompts-get-with-image"),
    "http-custom-header-server-validation": _fixture(
        "a tool with x-mcp-header annotations",
        "sep-2243-server-no-xmcp-tool",
        "sep-2243-server-decode-base64",
        "sep-2243-server-validate-param-match",
        "sep-2243-server-reject-invalid-param-chars",
        "sep-2243-server-reject-param-mismatch",
    ),
    "input-required-result-basic-elicitation": _fixture(_QUESTION_TOOL, "sep-2322-elicitation-incomplete"),
    "input-required-result-basic-sampling": _fixture(
        "the tool test_input_required_result_sampling", "sep-2322-sampling-incomplete"
    ),
    "input-required-result-basic-list-roots": _fixture(
        "the tool test_input_required_result_list_roots", "sep-2322-list-roots-incomplete"
    ),
    "input-required-result-request-state": _fixture(
        "the tool test_input_required_result_request_state", "sep-2322-request-state-incomplete"
    ),
    "input-required-result-multiple-input-requests": _fixture(
        "the tool test_input_required_result_multiple_inputs", "sep-2322-multiple-inputs-incomplete"
    ),
    "input-required-result-multi-round": _fixture(
        "the tool test_input_required_result_multi_round", "sep-2322-multi-round-r1"
    ),
    "input-required-result-missing-input-response": _fixture(_QUESTION_TOOL, "sep-2322-missing-response-rerequests"),
    "input-required-result-non-tool-request": _fixture(
        "the prompt test_input_required_result_prompt", "sep-2322-non-tool-incomplete"
    ),
    "input-required-result-result-type": _fixture(_QUESTION_TOOL, "sep-2322-result-type-included"),
    "input-required-result-tampered-state": _fixture(
        "the tool test_input_required_result_tampered_state", "sep-2322-reject-tampered-state"
    ),
    "input-required-result-capability-check": _fixture(
        "the tool test_input_required_result_capabilities", "sep-2322-respect-client-capabilities"
    ),
    "input-required-result-ignore-extra-params": _fixture(f"{_QUESTION_TOOL}{_VACUOUS}"),
    "input-required-result-validate-input": _fixture(_QUESTION_TOOL, "sep-2322-error-on-protocol-error"),
}

_CLIENT: Mapping[str, Note] = {}
