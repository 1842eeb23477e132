"""The arguments of the commands that show what is kept, delete it, and keep copies of it."""

from __future__ import annotations

from argparse import ArgumentParser

from bot.cli.output import add_output_arguments


def add_deletion_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge history` that delete a conversation."""
    parser.add_argument("--delete", metavar="KEY", help="delete the words of this conversation")
    parser.add_argument("--files", action="store_true", help="with --delete: the files saved in it as well")


def add_export_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge export`."""
    parser.add_argument("conversation", help="a key from `toolbridge history`, or the name of a terminal conversation")
    parser.add_argument("--format", choices=("md", "json"), default="md", help="Markdown (default) or JSON")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")


def add_purge_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge purge`."""
    parser.add_argument(
        "--person", required=True, metavar="PERSON", help="whose, as rules and `toolbridge audit` name them"
    )
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    add_output_arguments(
        parser,
        json_help="print as JSON what is kept and what was removed; without --yes nothing is asked or removed",
        quiet_help="with --yes: print only what could not be removed",
    )


def add_backup_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge backup`."""
    parser.add_argument("file", metavar="FILE", help="the archive to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    add_output_arguments(parser, json_help="print as JSON what it has", quiet_help="print nothing but errors")


def add_restore_arguments(parser: ArgumentParser) -> None:
    """Add those of `toolbridge restore`."""
    parser.add_argument("file", metavar="FILE", help="an archive that `toolbridge backup` wrote")
    parser.add_argument("--force", action="store_true", help="replace what the home folder has, and keep that beside")
    add_output_arguments(parser, json_help="print as JSON what is in place now", quiet_help="print nothing but errors")
