"""Runs the public MCP conformance suite against the bundled server and the tools port."""
