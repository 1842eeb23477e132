"""What attackers do, in a form that can be made large: figures of how the bot holds."""
