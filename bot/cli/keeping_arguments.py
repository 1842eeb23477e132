"""The arguments of the commands that show what is kept, and delete it."""

from __future__ import annotations

from argparse import ArgumentParser


def add_deletion_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge history` that delete a conversation."""
    parser.add_argument("--delete", metavar="KEY", help="delete the words of this conversation")
    parser.add_argument("--files", action="store_true", help="with --delete: the files saved in it as well")


def add_export_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge export`."""
    parser.add_argument("conversation", help="a key from `toolbridge history`, or the name of a terminal conversation")
    parser.add_argument("--format", choices=("md", "json"), default="md", help="Markdown (default) or JSON")


def add_purge_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge purge`."""
    parser.add_argument(
        "--person", required=True, metavar="PERSON", help="whose, as rules and `toolbridge audit` name them"
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")
