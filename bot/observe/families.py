"""The metrics, each with its name, labels and buckets. No label takes a value that people or endpoints make up.

Names follow Prometheus (https://prometheus.io/docs/practices/naming/), and for the model OpenTelemetry's conventions
for generative AI (https://github.com/open-telemetry/semantic-conventions-genai), as their exporter writes them.
docs/metrics.md lists them for operators.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

# The buckets that the conventions name.
CALL_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(float(4**power) for power in range(14))
ANSWER_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0)
SIGN_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
LAG_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
BATCH = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
MODEL_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class Families:
    """What is counted as it happens, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # a second series for each counter, which nobody reads
        ProcessCollector(registry=registry)
        self.build = Info("toolbridge_build", "The version that runs.", registry=registry)
        self.turns = Counter(
            "toolbridge_turns",
            "Turns of this process that came to a state: an end, a wait for people, or another process.",
            ("platform", "state"),
            registry=registry,
        )
        self.first_sign = Histogram(
            "toolbridge_turn_first_sign_seconds",
            "From a message, by its platform's clock, until the bot shows that it works on it.",
            ("platform",),
            buckets=SIGN_S,
            registry=registry,
        )
        self.answer = Histogram(
            "toolbridge_turn_answer_seconds",
            "From a message, by its platform's clock, until its whole answer is posted; without turns that waited for "
            "people.",
            ("platform", "state"),
            buckets=ANSWER_S,
            registry=registry,
        )
        self.tool_calls = Counter(
            "toolbridge_tool_calls", "Tool calls that have ended.", ("server", "outcome"), registry=registry
        )
        self.tool_seconds = Histogram(
            "toolbridge_tool_call_duration_seconds",
            "How long tool calls took that were sent.",
            ("server",),
            buckets=CALL_S,
            registry=registry,
        )
        self.approvals_requested = Counter(
            "toolbridge_approvals_requested", "Calls that people were asked to approve.", registry=registry
        )
        self.approvals = Counter(
            "toolbridge_approvals", "Approvals that were decided or came to an end.", ("outcome",), registry=registry
        )
        self.model_seconds = Histogram(
            "gen_ai_client_operation_duration_seconds",
            "How long calls to the model took, retries and pauses included.",
            (*MODEL_LABELS, "error_type"),
            buckets=CALL_S,
            registry=registry,
        )
        self.first_chunk = Histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From a call to the model until the first text of its answer.",
            MODEL_LABELS,
            buckets=CALL_S,
            registry=registry,
        )
        self.tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of each call to the model.",
            (*MODEL_LABELS, "gen_ai_token_type"),
            buckets=TOKENS,
            registry=registry,
        )
        self.cached_tokens = Counter(
            "toolbridge_model_cached_input_tokens",
            "Input tokens that the endpoint read from its prompt cache.",
            ("gen_ai_request_model",),
            registry=registry,
        )
        self.cost = Counter(
            "toolbridge_model_cost_usd",
            "What calls to the model cost in dollars, as far as prices are known.",
            ("gen_ai_request_model",),
            registry=registry,
        )
        self.unpriced_tokens = Counter(
            "toolbridge_model_unpriced_tokens",
            "Tokens of which no price is known.",
            ("gen_ai_request_model",),
            registry=registry,
        )
        self.lag = Histogram(
            "toolbridge_event_loop_lag_seconds",
            "How late the event loop was, measured twice a second.",
            buckets=LAG_S,
            registry=registry,
        )
        self.batch = Histogram(
            "toolbridge_store_batch_writes",
            "Writes that one commit of the database held together.",
            buckets=BATCH,
            registry=registry,
        )
