"""Replaces the images of a question by sentences."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.messages import UserMessage
from bot.text.cleaning import clean_name
from bot.text.marks import marked


def leave_images_out(message: UserMessage, sentence: str) -> UserMessage:
    """Return the message with a sentence in place of each image; `sentence` is formatted with its `name`."""
    sentences = [marked(sentence.format(name=f"`{clean_name(image.name)}`")) for image in message.images]
    attached = "\n\n".join(part for part in (message.attached, *sentences) if part)
    return replace(message, attached=attached, images=())


# The history keeps this in place of an image.
NOT_KEPT = "The image {name} was sent with this message; it is not kept."
