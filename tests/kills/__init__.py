"""Kills the bot at every step of its work, starts it again, and counts what went wrong."""
