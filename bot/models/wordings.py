"""How endpoints and gateways word their refusals, where no code says what they mean.

Gathered from OpenAI, Azure, Anthropic, Bedrock, Gemini, Mistral, Groq, DeepSeek, DashScope, vLLM, llama.cpp, LM Studio,
Ollama, TGI, OpenRouter and LiteLLM; tests/payloads/model has their sentences with their sources.
"""

from __future__ import annotations

import re

# How endpoints whose model takes no images put it: OpenAI and Azure; vLLM; llama.cpp, LM Studio and most others;
# OpenRouter; Mistral; DeepSeek and others that accept only text content.
NO_IMAGES = re.compile(
    r"(?:image_url|input_image) is only supported by certain models"
    r"|not a multi-?modal model|at most 0 image"
    r"|\b(?:images?|vision|multi-?modal)\b[^.]{0,40}\b(?:not|isn't|aren't) (?:supported|enabled|available|allowed)"
    r"|\b(?:not|doesn't|cannot|can't) (?:support|accept|take|handle|process)\b[^.]{0,20}"
    r"\b(?:images?|vision|multi-?modal)\b"
    r"|no endpoints found that support image|missing data required for image input"
    r"|unknown variant .?(?:image_url|input_image)|invalid value: .(?:image_url|input_image)",
    re.IGNORECASE,
)
# Some endpoints only say that the content has to be a string; without images it always is.
IMAGE_WORDS = re.compile(
    r"image(?:_url|s)?\b|\bcontent\b.{0,60}\b(?:must|should) be a (?:valid )?string", re.IGNORECASE | re.DOTALL
)
# Ollama and DeepSeek; OpenRouter; vLLM; llama.cpp; TGI and others.
NO_TOOLS = re.compile(
    r"\b(?:not|doesn't|don't|cannot) support (?:the use of )?(?:tools?\b|tool use|tool call|function call)"
    r"|no endpoints found that support tool use|requires --enable-auto-tool-choice|(?:requires|use) --jinja"
    r"|\b(?:tools?|tool calling|tool use|function calling)\b (?:is|are) (?:not|currently not|un)\s?"
    r"(?:supported|enabled|available)",
    re.IGNORECASE,
)
TOO_LONG = re.compile(
    r"context (?:length|size|window)|contextwindow|^request too large|(?:prompt|input) is too long|prompt too long"
    r"|too many tokens[^.]{0,40}\b(?:prompt|input|total)|too large for model with|maximum (?:model|prompt|input) length"
    r"|input token count\b.{0,40}\bexceeds|tokens?. \+ .max_new_tokens. must be|inputs. must have less than"
    r"|input is too large to process|reduce the length of (?:the|your) (?:messages|prompt|input)"
    r"|exceeds? (?:the )?token limit",
    re.IGNORECASE | re.DOTALL,
)
FILTERED = re.compile(
    r"content[ _-]?(?:management )?polic(?:y|ies)|contentpolicyviolation|responsibleaipolicyviolation"
    r"|content (?:filter|exists risk)|inappropriate content|data_inspection_failed|prohibited_content"
    r"|safety (?:system|filter|settings)|blocked by (?:the )?(?:guardrail|safety)|guardrail(?:_| )intervened"
    r"|sensitive content",
    re.IGNORECASE,
)
NO_QUOTA = re.compile(
    r"insufficient[ _](?:quota|balance|credits?|funds)|exceeded your current quota|credit balance is too low"
    r"|budget has been exceeded|exceeded(?:token)?budget|billing (?:hard )?limit|out of credits|payment required"
    r"|account is (?:not active|suspended)",
    re.IGNORECASE,
)
BUSY = re.compile(
    r"ratelimiterror|rate[ _-]?limit|too many requests|throttl|resource_exhausted|too many tokens, please wait"
    r"|overloaded|at capacity|exceeded (?:token|call) rate",
    re.IGNORECASE,
)
UNKNOWN_MODEL = re.compile(
    r"\bmodels?\b.{0,120}\b(?:not (?:be )?found|does(?:n't| not) exist|unknown|not available|no such)"
    r"|\b(?:no such|unknown|invalid) model\b|deployment\b.{0,80}\bdoes not exist|model_not_found|DeploymentNotFound"
    r"|no (?:available )?(?:channel|endpoints?|deployments?)\b.{0,40}\bmodel",
    re.IGNORECASE | re.DOTALL,
)
RESPONSES_ONLY = re.compile(
    r"only supported in v1/responses|not a chat model|use the responses api"
    r"|only (?:available|supported) (?:in|through|with) the responses",
    re.IGNORECASE,
)
CHAT_ONLY = re.compile(
    r"(?:only supported in|use) (?:the )?(?:v1/)?chat[ /]completions|responses api is (?:not|only)"
    r"|operation is unsupported",
    re.IGNORECASE,
)
REPLAY = re.compile(
    r"encrypted.content|reasoning_content|reasoning_details|thinking_blocks|thought_?signature|extra_content"
    r"|items are not persisted|item .?(?:rs|msg|fc)_|item with id|required .?(?:reasoning|following) item"
    r"|type .?reasoning",
    re.IGNORECASE,
)
_PAUSE = re.compile(
    r"(?:retry|try again|wait)[^.\d]{0,40}?"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|h|hours?|m|min(?:ute)?s?|s|sec(?:ond)?s?)\s*)+)",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|h|m|s)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0}


def pause_in(message: str) -> float | None:
    """Return the pause that a sentence asks for ("try again in 1m26.4s"), in seconds; None if it asks for none."""
    found = _PAUSE.search(message)
    return duration_s(found[1]) if found else None


def duration_s(text: str) -> float | None:
    """Return a duration such as `6m0s`, `20ms` or `41` in seconds; None if the text is none."""
    try:
        return float(text)
    except ValueError:
        amounts = _AMOUNT.findall(text)
    return sum(float(amount) * _SECONDS[unit.lower()] for amount, unit in amounts) if amounts else None
