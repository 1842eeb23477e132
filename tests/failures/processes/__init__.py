"""What goes wrong where several processes of the bot share a database, and what users see of it."""
