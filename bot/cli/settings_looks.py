"""All that is wrong with the settings, told at once: nobody has to start the bot again for the next sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bot.domain.errors import SettingsError, settings_error

if TYPE_CHECKING:
    from bot.settings import Settings

Look = Callable[["Settings"], object]  # at one part; raises SettingsError


def problems_of(settings: Settings, looks: Iterable[Look]) -> list[str]:
    """Return what they find, each sentence once."""
    found: list[str] = []
    for look in looks:
        try:
            look(settings)
        except SettingsError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def check_settings(settings: Settings, looks: Iterable[Look]) -> None:
    """Raise SettingsError with all that they find."""
    if problems := problems_of(settings, looks):
        raise settings_error(problems)


def looks_at_parts() -> Sequence[Look]:
    """Return those at the files and values that the parts of the bot read when they are opened."""
    # Late: a prompt of a chat is there before these are loaded.
    from bot.composition.work import read_system_prompt
    from bot.models.prices import own_price
    from bot.rights.current import policy_of
    from bot.tools.configured import open_inputs

    return (read_system_prompt, own_price, open_inputs, policy_of)
