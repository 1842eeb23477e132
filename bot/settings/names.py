"""Whose a name in the environment or in `.env` is: ours, another program's, or one of ours misspelt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

# Names with these prefixes are ours: an unknown one is a typo.
PREFIXES = ("TOOLBRIDGE_", "AZURE_OPENAI_", "OPENAI_", "SLACK_", "DISCORD_", "MCP_", "MODEL_", "DATABASE_")
# Read by the openai SDK, azure-identity, the MCP SDK or other programs on the same machine.
FOREIGN = frozenset(
    {
        "AZURE_OPENAI_AD_TOKEN",
        "OPENAI_ADMIN_KEY",
        "OPENAI_API_TYPE",
        "OPENAI_API_VERSION",
        "OPENAI_CUSTOM_HEADERS",
        "OPENAI_LOG",
        "OPENAI_ORG_ID",
        "OPENAI_ORGANIZATION",
        "OPENAI_PROJECT_ID",
        "OPENAI_WEBHOOK_SECRET",
    }
)
# Other programs use names like these too: in the environment, a similar name is most likely theirs.
COMMON = frozenset(
    {
        "DATABASE_URL",
        "HTTP_HOST",
        "HTTP_PORT",
        "LOG_CONTENT",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "METRICS",
        "METRICS_TOKEN",
        "PROCESS_NAME",
        "REDACT",
        "RETENTION_DAYS",
        "TRACE",
        "TRUSTED_PROXIES",
    }
)
# OpenTelemetry's SDK reads many more of these than are settings of ours.
FOREIGN_PREFIX = "OTEL_"
# Other programs have names with our prefixes in the environment, too; the last ones are Kubernetes' for a service
# called `database`: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
THEIRS = re.compile(
    r"DATABASE_(?:URI|DSN|HOST|PORT|NAME|USER|USERNAME|PASS|PASSWORD|ENGINE|DRIVER|ADAPTER|TYPE|SSL|PORT_\w+|SERVICE_\w+)"
)


def misspelt(
    names: Iterable[str], *, known: Sequence[str], where: str, spared: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield a sentence for each name that looks like a known one, and is not; `spared` have no look-alikes."""
    for name in names:
        if name in known or name in FOREIGN or name.startswith(FOREIGN_PREFIX):
            continue
        is_ours = name.startswith(PREFIXES)
        candidates = [name for name in known if name not in spared]
        near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.7 if is_ours else 0.88)
        if near or is_ours:
            hint = f"Did you mean {near[0]}?" if near else "It is not a setting: see .env.example for all names."
            yield f"{name} is set in {where}. {hint} Correct or remove it."
