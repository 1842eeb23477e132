"""What goes wrong around the bot in Discord, and what its users see of it."""
