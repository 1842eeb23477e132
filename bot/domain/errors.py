"""Errors raised on purpose. `str(error)` is always a sentence for a person: what happened, what to do, no secret."""

from __future__ import annotations

from collections.abc import Sequence


class BotError(Exception):
    """Base of every error this project raises on purpose."""


class SettingsError(BotError):
    """The settings contradict each other or miss a part; nothing was started."""


def settings_error(problems: Sequence[str]) -> SettingsError:
    """Return all of them as one error."""
    if len(problems) == 1:
        return SettingsError(problems[0])
    lines = (problem.replace("\n", "\n  ") for problem in problems)
    return SettingsError("\n- ".join([f"{len(problems)} things are wrong with the settings:", *lines]))


class ModelError(BotError):
    """The model endpoint refused or failed a request."""


class ModelRateLimitError(ModelError):
    """The endpoint is busy for longer than the turn may take, or than it is worth asking again (`tries` times)."""

    def __init__(self, *, retry_after_s: float, tries: int = 0) -> None:
        count = "once" if tries == 1 else f"{tries} times"
        super().__init__(
            f"The model is busy: it refused the question {count}. Please ask again in a minute."
            if tries
            else f"The model is busy and asks to wait {retry_after_s:.0f} s, longer than this turn may take. "
            f"Please ask again after that."
        )
        self.retry_after_s = retry_after_s


class ModelQuotaError(ModelError):
    """The account behind the endpoint has no quota left."""


class ModelAccessError(ModelError):
    """Key, token, deployment or model name is not accepted."""


class ModelContentFilterError(ModelError):
    """The endpoint's content filter stopped the request, or the answer to it (`is_of_answer`)."""

    def __init__(self, message: str, *, is_of_answer: bool = False) -> None:
        super().__init__(message)
        self.is_of_answer = is_of_answer


class ModelContextError(ModelError):
    """The request has more tokens than the model takes: `limit_tokens`, where the endpoint says how many these are."""

    def __init__(self, message: str, *, limit_tokens: int | None = None) -> None:
        super().__init__(message)
        self.limit_tokens = limit_tokens


class ModelRequestError(ModelError):
    """The endpoint does not accept the request for any other reason."""


class ModelUnavailableError(ModelError):
    """The endpoint cannot be reached, answers 5xx or stalls, and retries did not help."""


class ModelStreamError(ModelError):
    """The answer broke off after part of it had been shown; `partial` is the most that arrived of it."""

    def __init__(self, message: str, *, partial: str) -> None:
        super().__init__(message)
        self.partial = partial


class BudgetError(ModelError):
    """A budget is used up, so the model was not asked."""


class StoreError(BotError):
    """The database refused or failed an operation; nothing of it was kept."""


class StoreUnreachableError(StoreError):
    """The database does not answer: it is down, or the network to it is."""


class LeaseLostError(StoreError):
    """Another worker has taken the turn over: stop at once, write and post nothing."""


class AdapterError(BotError):
    """A chat platform refused or failed an operation; `is_permanent` where trying again cannot help."""

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class RateLimitError(AdapterError):
    """The platform asked for a pause; the operation is safe to repeat after it."""

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(f"The platform asks to wait {retry_after_s:.1f} s.")
        self.retry_after_s = retry_after_s
