"""The commands that the documents show: read from them, and which test runs each, or why none can."""
