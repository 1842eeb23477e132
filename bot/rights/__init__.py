"""Who may run what, decided outside the model: `toolbridge.toml` read, checked and applied to each call."""
