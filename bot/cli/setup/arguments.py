"""The arguments of `toolbridge setup`. No secret is among them: every program of the machine can read arguments."""

from __future__ import annotations

from argparse import ArgumentParser

from adapters.registry import PLATFORMS


def add_setup_arguments(setup: ArgumentParser) -> None:
    """Add them; without any, questions are asked."""
    setup.add_argument("--model-url", default="", metavar="URL", help="a server with OpenAI's API, local ones too")
    setup.add_argument("--model", dest="model_name", default="", metavar="NAME", help="the model that answers")
    setup.add_argument("--openai", action="store_true", help="OpenAI; the key is OPENAI_API_KEY")
    setup.add_argument("--azure-endpoint", default="", metavar="URL", help="Azure OpenAI: the resource's endpoint")
    setup.add_argument("--azure-deployment", default="", metavar="NAME", help="Azure OpenAI: the deployment's name")
    setup.add_argument("--entra", action="store_true", help="Azure OpenAI: sign in with Entra ID, without a key")
    for platform in PLATFORMS:
        tokens = " and ".join(token.setting for token in platform.guide.tokens)
        setup.add_argument(f"--{platform.name}", action="store_true", help=f"{platform.guide.title}, with {tokens}")
    setup.add_argument(
        "--mcp-from", action="append", default=[], metavar="FILE", help="take over the servers of another client's file"
    )
    setup.add_argument(
        "--secrets",
        default="",
        metavar="FILE",
        help="read keys and tokens from this file of NAME=value lines (- is standard input), beside the environment",
    )
    setup.add_argument("--yes", action="store_true", help="write the files without asking")
