"""What goes wrong around the bot in Slack, and what its users see of it."""
