"""The store's statements, one set for all engines, in plain functions of a `Db`."""
