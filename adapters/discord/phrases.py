"""Sentences that people see in more than one place, or that older versions of the bot make necessary."""

from __future__ import annotations

NO_DIRECT = (
    "Direct messages are switched off here. Ask me in a channel; the operator can allow them (DISCORD_ALLOW_DMS)."
)
UNREADABLE = (
    "I cannot read this; mention me. Without Discord's Message Content intent I only get messages that mention me by "
    "name; an operator can switch it on."
)
OLD_COMMAND = "That command belongs to an older version of me. `/help` shows the current ones."
OLD_BUTTON = "That button belongs to an older version of me and no longer works."
OLD_FORM = "I no longer know which message that was about. Please choose it in the menu again."
OLD_EXAMPLE = "That example is not offered any more. `/examples` shows the others."
ASKED_BELOW = "Asked below."
NOT_VALID = "That button is not valid."
LOST_FORM = "What you filled in is gone: I was restarted since, or it is more than 15 minutes old. Please begin again."
CHANGED_FORM = "The form has changed since you opened it. Please open it again."
SLOW_FORM = "The form took a moment. Press the button to open it."
BIG_FORM = "What is to be filled in is too long for Discord's forms."
REFUSED_FORM = "Discord does not show this form. The operator's log has the reason."
DONE = "Done."
TOO_OFTEN = "Nothing was done: that was too much at once. Try again in a minute."
