"""The step to the model: one of this machine, one behind a URL, Azure's or OpenAI's; each is tried at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.cli.setup.asking import Person, say
from bot.cli.setup.plan import Plan
from bot.cli.setup.trial import try_tool_call
from bot.domain.errors import BotError, SettingsError, settings_error
from bot.models.factory import describe_model
from bot.models.local import LocalModel, LocalServer, context_of_ollama, find_local, usual_places
from bot.text.counting import count

_DEFAULT_OPENAI = "gpt-4.1"
_MAX_OFFERED = 12
_LEAST_CONTEXT, _SMALL_CONTEXT = 2_000, 8_000  # tokens: what the settings take; what tools alone may fill
_AZURE_KEY = ("AZURE_OPENAI_API_KEY", "or --entra for a sign-in with Entra ID")
_OPENAI_KEY = ("OPENAI_API_KEY", "the key of your OpenAI account")
_OTHERS = {"openai": "azure_openai_", "azure": "openai_"}  # how the settings of the other kind begin

Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    """What the person can choose."""

    text: str
    server: LocalServer | None = None
    model: LocalModel | None = None


_URL = _Option(text="Another server with OpenAI's API, by its URL")
_AZURE = _Option(text="Azure OpenAI")
_OPENAI = _Option(text="OpenAI")


async def ask_for_model(plan: Plan, person: Person) -> None:
    """Ask which model answers until one does, and plan it."""
    say("Looking for models on this machine ...")
    found = await find_local(usual_places(plan.given))
    for server in found:
        if server.without_tools:
            say(f"{server.kind} has {count(server.without_tools, 'more model')} without tool calling.")
    stays = _Option(text=f"None: {_as_it_is(plan)}")
    options = [*_local_options(found), _URL, _AZURE, _OPENAI, stays]
    while True:
        chosen = options[await person.choice("Which model is to answer?", [option.text for option in options])]
        if chosen is stays:
            return
        try:
            values = await _ask_values(plan, person, chosen)
            plan.env.update({**values, **await _tried(plan, values, chosen)})
        except BotError as error:
            say(str(error))
        else:
            return


def _as_it_is(plan: Plan) -> str:
    try:
        return describe_model(plan.settings)
    except SettingsError as error:
        return str(error)


def _local_options(found: Sequence[LocalServer]) -> list[_Option]:
    options = [
        _Option(text=f"{model.name} ({server.kind}, {server.url}){_remark(model)}", server=server, model=model)
        for server in found
        for model in server.models
    ]
    return options[:_MAX_OFFERED]


def _remark(model: LocalModel) -> str:
    return "" if model.has_tools else ", tool calling is not known"


async def _ask_values(plan: Plan, person: Person, chosen: _Option) -> Values:
    if chosen.server is not None and chosen.model is not None:
        return _of_local(plan, chosen.server, chosen.model)
    if chosen is _AZURE:
        endpoint = await person.text(
            "Endpoint (https://NAME.openai.azure.com):", default=_now(plan, "azure_openai_endpoint")
        )
        deployment = await person.text("Deployment:", default=_now(plan, "azure_openai_deployment"))
        if await person.choice("How does the bot sign in?", ["With a key", "With Entra ID"]):
            return _of_azure(plan, endpoint, deployment, key="")
        return _of_azure(plan, endpoint, deployment, key=await ask_secret(plan, person, "AZURE_OPENAI_API_KEY", "Key:"))
    if chosen is _OPENAI:
        key = await ask_secret(plan, person, "OPENAI_API_KEY", "Key (sk-...):")
        return _of_openai(plan, await person.text("Model:", default=_DEFAULT_OPENAI), key=key)
    url = await person.text("URL (http://host:port/v1):")
    name = await person.text("Model:")
    return _of_url(plan, url, name, key=await person.secret("Key (Enter: none):"), context=None)


async def ask_secret(plan: Plan, person: Person, setting: str, question: str) -> str:
    """Return the secret that is set already, where the person wants to keep it, or a new one."""
    now = plan.value(setting)
    if now and await person.agrees(f"{setting} is set already. Use it?", default=True):
        return now
    return await person.secret(question)


def _now(plan: Plan, name: str) -> str:
    return getattr(plan.settings, name) or ""


async def _tried(plan: Plan, values: Values, chosen: _Option | None = None) -> Values:
    """Try the model; return what is known of it only now. Raises BotError."""
    settings = plan.settings_with(values)
    say("Trying it with a tool call; a server of this machine may have to load the model first ...")
    say(await try_tool_call(settings))
    if chosen is None or chosen.server is None or chosen.model is None or chosen.server.kind != "Ollama":
        return {}
    context = await context_of_ollama(chosen.server.url, chosen.model.name)
    if context is not None and context < _SMALL_CONTEXT:
        say(
            f"Ollama runs it with {context:,} tokens of context, which is little for tools: start Ollama with "
            f"OLLAMA_CONTEXT_LENGTH=16384, then run setup again."
        )
    return _context(context)


# --- by flags --------------------------------------------------------------------------------------------------


async def plan_model(plan: Plan, person: Person | None) -> None:
    """Plan the model that the flags name, if they do, once it was tried; ask for a key that is missing.

    Raises BotError.
    """
    given = plan.arguments
    is_azure = bool(given.azure_endpoint or given.azure_deployment or given.entra)
    if sum((is_azure, given.openai, bool(given.model_url))) > 1:
        raise SettingsError("Name one model: by --model-url, by --openai, or by --azure-endpoint.")
    chosen = None
    if is_azure:
        key = "" if given.entra else await needed(plan, person, *_AZURE_KEY)
        values = _of_azure(plan, given.azure_endpoint, given.azure_deployment, key=key)
    elif given.openai:
        key = await needed(plan, person, *_OPENAI_KEY)
        values = _of_openai(plan, given.model_name or _DEFAULT_OPENAI, key=key)
    elif given.model_url:
        values = _of_url(plan, given.model_url, given.model_name, key=_key_for(plan, given.model_url), context=None)
    elif given.model_name:
        server, model = await _local_model(plan, given.model_name)
        chosen, values = _Option(text="", server=server, model=model), _of_local(plan, server, model)
    else:
        return
    plan.env.update({**values, **await _tried(plan, values, chosen)})


def missing_key(plan: Plan) -> Iterator[str]:
    """Yield that the key of the model is missing which the flags name."""
    given = plan.arguments
    if (given.azure_endpoint or given.azure_deployment) and not given.entra:
        yield from missing(plan, *_AZURE_KEY)
    if given.openai:
        yield from missing(plan, *_OPENAI_KEY)


def missing(plan: Plan, setting: str, what: str) -> Iterator[str]:
    """Yield that the secret is missing, where it is."""
    if not plan.value(setting):
        yield f"{setting} is missing: set it in the environment or in the file of --secrets ({what})."


async def needed(plan: Plan, person: Person | None, setting: str, what: str) -> str:
    """Return the secret that was given; without one, what the person types. Raises SettingsError."""
    value = plan.value(setting) or (await person.secret(f"{setting}, {what}:") if person else "")
    if not value:
        raise settings_error(list(missing(plan, setting, what)))
    return value


def _key_for(plan: Plan, url: str) -> str:
    """Return the key that was given; a server of this machine gets none, and the one in use stays with its URL."""
    if plan.settings.openai_base_url == url:
        return plan.value("OPENAI_API_KEY")
    return "" if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1") else plan.given.get("OPENAI_API_KEY", "")


async def _local_model(plan: Plan, name: str) -> tuple[LocalServer, LocalModel]:
    found = [(server, model) for server in await find_local(usual_places(plan.given)) for model in server.models]
    if wanted := next((each for each in found if each[1].name == name), None):
        return wanted
    names = ", ".join(model.name for _, model in found) or "none"
    raise SettingsError(
        f"No server of this machine has the model {name} (found: {names}). Add --model-url or --openai."
    )


# --- settings --------------------------------------------------------------------------------------------------


def _of_local(plan: Plan, server: LocalServer, model: LocalModel) -> Values:
    return _of_url(plan, server.url, model.name, key="", context=model.context_tokens)


def _of_url(plan: Plan, url: str, model: str, *, key: str, context: int | None) -> Values:
    if not model:
        raise SettingsError("The model has no name: add --model NAME.")
    own = {"OPENAI_BASE_URL": url, "OPENAI_MODEL": model, "OPENAI_API_KEY": key or None}
    return {**own, **_provider(plan, "openai"), **_context(context)}


def _of_openai(plan: Plan, model: str, *, key: str) -> Values:
    own = {"OPENAI_BASE_URL": None, "OPENAI_MODEL": model, "OPENAI_API_KEY": key or None}
    return {**own, **_provider(plan, "openai")}


def _of_azure(plan: Plan, endpoint: str, deployment: str, *, key: str) -> Values:
    if not endpoint or not deployment:
        raise SettingsError("Azure OpenAI needs both --azure-endpoint and --azure-deployment.")
    own = {
        "AZURE_OPENAI_ENDPOINT": endpoint,
        "AZURE_OPENAI_DEPLOYMENT": deployment,
        "AZURE_OPENAI_API_KEY": key or None,
    }
    return {**own, **_provider(plan, "azure")}


def _provider(plan: Plan, provider: str) -> Values:
    """Return which of several models answers, where the settings of another one stay."""
    fields = [name for name in type(plan.settings).model_fields if name.startswith(_OTHERS[provider])]
    has_others = any(getattr(plan.settings, name) is not None for name in fields)
    return {"MODEL_PROVIDER": provider} if has_others or plan.settings.model_provider is not None else {}


def _context(tokens: int | None) -> Values:
    return {} if tokens is None or tokens < _LEAST_CONTEXT else {"MODEL_CONTEXT_TOKENS": str(tokens)}
