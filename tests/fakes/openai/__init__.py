"""A loopback model endpoint that speaks OpenAI's and Azure's protocols, Chat Completions and Responses.

It answers by the rehearsal model's rules and refuses what the real endpoints refuse, with errors of the same shape.
With `control` a test can tell it over HTTP what to answer, how to fail and how slowly to answer; without it those
addresses do not exist. To run it by hand: `python -m tests.fakes.openai --control`.
"""

from tests.fakes.openai.server import serve_openai

__all__ = ["serve_openai"]
