"""Prompts as records hold them: texts and images in reading order."""

from collections.abc import Sequence

from data_pipelines.records import Image, Segment, Text

MARK = "<image>"  # where an image stands in the text of a prompt
SLOT = "{text}"  # where what is asked stands in a template


def woven(text: str, images: Sequence[Image]) -> tuple[Segment, ...]:
    """A text with the images where its marks stand; without marks, before it.

    ValueError where there are marks, but not one for each image.
    """
    pieces = text.split(MARK)
    if len(pieces) == 1:
        pieces = [*[""] * len(images), text]
    if len(pieces) != len(images) + 1:
        raise ValueError(
            f"prompt: {MARK} comes {len(pieces) - 1} times, there are {len(images)} "
            "images"
        )
    parts: list[Segment] = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append(images[number - 1])
        if piece:
            parts.append(Text(piece))
    return tuple(parts)


def filled(template: str, segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """A template with texts and images in its slot; texts that touch become one."""
    before, _, after = template.partition(SLOT)
    joined: list[Segment] = []
    for segment in (Text(before), *segments, Text(after)):
        last = joined[-1] if joined else None
        if isinstance(segment, Text) and isinstance(last, Text):
            joined[-1] = Text(last.text + segment.text)
        else:
            joined.append(segment)
    return tuple(s for s in joined if isinstance(s, Image) or s.text)
