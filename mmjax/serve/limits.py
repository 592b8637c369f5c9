"""What the server allows: how much of everything, and where its images may lie."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds of what clients can make the server hold or do."""

    batch: int = 16  # requests that are answered together
    queue: int = 64  # requests that wait, at most
    request_bytes: int = 20_000_000  # of a request's body
    image_pixels: int = 50_000_000  # of a request's images together
    seconds: float = 30.0  # that a body may take to arrive, or an end to be read
    images: str = ""  # folder of the images that requests may name; "": none


def check(limits: Limits) -> None:
    """Raises ValueError for limits that can't be; names are those of the flags."""
    for flag, value in (
        ("batch", limits.batch),
        ("queue", limits.queue),
        ("max_request_bytes", limits.request_bytes),
        ("max_image_pixels", limits.image_pixels),
    ):
        if value < 1:
            raise ValueError(f"--{flag}={value}: must be at least 1")
    if not 0 < limits.seconds < float("inf"):
        raise ValueError(f"--timeout={limits.seconds}: must be above 0")
