"""The JSON in which events, steps, posts and messages are stored."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from bot.domain.asks import Ask
from bot.domain.events import MessageReceived
from bot.domain.messages import Message
from bot.domain.turns import Post, Step
from bot.ports.cluster import About

events = TypeAdapter(MessageReceived)
posts = TypeAdapter(Post)
messages: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
steps: TypeAdapter[Step] = TypeAdapter(Annotated[Step, Field(discriminator="kind")])
abouts = TypeAdapter(About)
asks: TypeAdapter[Ask] = TypeAdapter(Annotated[Ask, Field(discriminator="kind")])
