"""What goes wrong around the bot in Slack and in Discord, and what its users see of it."""
