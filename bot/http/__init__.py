"""The bot's HTTP listener: one for everything that reaches the bot over HTTP."""
