"""The step to a chat platform: what to do there, its tokens, and what the platform says of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.registry import PLATFORMS, Guide, Platform
from bot.cli.setup.asking import Person, say
from bot.cli.setup.model import ask_secret, missing, needed
from bot.cli.setup.plan import Plan
from bot.domain.errors import BotError, SettingsError
from bot.ports.platform import SetUp

_AGAIN, _OTHER_TOKENS, _KEEP, _LEAVE_OUT = "Check again", "Enter other tokens", "Go on with it as it is", "Leave it out"


async def ask_for_platforms(plan: Plan, person: Person) -> None:
    """Lead to each platform that the person wants, and plan its settings."""
    for platform in PLATFORMS:
        about = " It is set up already." if _is_set_up(plan, platform) else ""
        if await person.agrees(f"Set {platform.guide.title} up?{about}"):
            await _lead(plan, person, platform)


def _is_set_up(plan: Plan, platform: Platform[Any]) -> bool:
    try:
        return platform.is_set_up(plan.settings)
    except SettingsError:
        return True


async def _lead(plan: Plan, person: Person, platform: Platform[Any]) -> None:
    title = platform.guide.title
    say("One moment ...")
    say(await platform.guide.text(plan.settings, plan.arguments))
    values: Mapping[str, str] = {}
    chosen = _OTHER_TOKENS
    while chosen in (_AGAIN, _OTHER_TOKENS):
        said = None
        try:
            if chosen == _OTHER_TOKENS:
                values = await _ask_values(plan, person, platform.guide)
                await _go_on(plan, person, platform.guide, values)
            said = await platform.check(plan.settings_with(values))
            problem = _problem(said)
        except BotError as error:
            problem = str(error)
        if said is not None and not problem:
            say(f"{title}: {_sentence(said)}")
            break
        say(f"{title}: {problem}")
        may_keep = said is not None and not said.is_refused
        options = [_AGAIN, _OTHER_TOKENS, *([_KEEP] if may_keep else []), _LEAVE_OUT]
        chosen = options[await person.choice("What now?", options)]
    if chosen != _LEAVE_OUT:
        plan.env.update(values)


async def _go_on(plan: Plan, person: Person, guide: Guide, values: Mapping[str, str]) -> None:
    """Say what is to be done with the tokens, and wait until it is."""
    if guide.then is not None:
        say(guide.then(plan.settings_with(values)))
        await person.text("Enter, once that is done:")


async def _ask_values(plan: Plan, person: Person, guide: Guide) -> Mapping[str, str]:
    values = {
        token.setting: await ask_secret(plan, person, token.setting, f"{token.setting}, {token.where}:")
        for token in guide.tokens
    }
    for switch in guide.switches:
        answer = await person.agrees(switch.question, default=switch.default)
        if answer != switch.default or switch.setting.lower() in plan.settings.model_fields_set:
            values[switch.setting] = str(answer).lower()
    return values


def _problem(said: SetUp | None) -> str:
    if said is None:
        return "no token was entered."
    return _sentence(said) if said.cure and not said.is_advice else ""


def _sentence(said: SetUp) -> str:
    return f"{said.detail}. {said.cure}" if said.cure else f"{said.detail}."


# --- by flags --------------------------------------------------------------------------------------------------


def missing_tokens(plan: Plan) -> Iterator[str]:
    """Yield which tokens are missing of the platforms that flags name."""
    for platform in PLATFORMS:
        for token in platform.guide.tokens if getattr(plan.arguments, platform.name) else ():
            yield from missing(plan, token.setting, token.where)


async def plan_platforms(plan: Plan, person: Person | None) -> None:
    """Plan the platforms that flags name, once each was checked; ask for tokens that are missing. Raises BotError."""
    for platform in PLATFORMS:
        if getattr(plan.arguments, platform.name):
            await _plan_platform(plan, person, platform)


async def _plan_platform(plan: Plan, person: Person | None, platform: Platform[Any]) -> None:
    guide = platform.guide
    values = {token.setting: await needed(plan, person, token.setting, token.where) for token in guide.tokens}
    for switch in guide.switches:
        if written := plan.given.get(switch.setting):
            values[switch.setting] = written
    settings = plan.settings_with(values)
    if guide.then is not None:
        guide.then(settings)  # raises where a token is none, which the platform would only refuse
    said = await platform.check(settings)
    if said is None or said.is_refused:
        raise SettingsError(f"{guide.title}: {_sentence(said) if said else 'it is not set up.'}")
    say(f"{guide.title}: {_sentence(said)}")
    plan.env.update(values)
