"""A trained model answers over HTTP, as OpenAI's servers do; its page is at /.

    python -m mmjax.serve --workdir=runs/a
    python -m mmjax.serve --workdir=runs/a --host=0.0.0.0 --port=80 --images=photos

The second takes requests from other machines, and images by the names of files below
photos/. It knows no keys: whoever reaches it is answered. --config is needed only to
change what the checkpoint says, as in --config.mesh.fsdp=8.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl.flags import FlagValues

from data_pipelines.inspect import command_line
from mmjax import cli, loading
from mmjax.answering import Request
from mmjax.generate import chat
from mmjax.generate.chat import Manner
from mmjax.serve import fields
from mmjax.serve import limits as limits_lib
from mmjax.serve.limits import Limits

NEW_TOKENS = 256  # of an answer, at most, where the request doesn't say


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it."""
    values = loading.asked(_define, __doc__, argv)
    if values is None:
        return
    limits, manner = _limits(values), _manner(values)
    place = loading.place(values)
    app, running = _libraries()
    with running.listen(values.host, values.port) as where:  # before the model is read
        config = command_line.config(values) if values.config else None
        opened = loading.open(place, config, "")
        name = pathlib.Path(place).resolve().name
        made, line = app.make(fields.Rules(opened, name, manner, limits))
        print(f"{name} is served at {running.address(where)}", flush=True)
        running.Server(made, line, limits).run(sockets=[where])


def _libraries() -> tuple[Any, Any]:
    """The modules that need the extra; ValueError where it isn't installed."""
    try:
        from mmjax.serve import app, running
    except ImportError as error:
        raise ValueError(f"{error}: run  pip install 'mmjax[serve]'") from error
    return app, running


def _define(values: FlagValues) -> None:
    loading.define(values)
    start = Limits()
    for name, default, help_string in (
        ("host", "127.0.0.1", "Address to listen at; 0.0.0.0: all of this machine's."),
        ("images", start.images, "Folder of images that requests may name."),
        ("template", Manner().template, "What a message of the user becomes."),
        ("between", Manner().between, "What stands after each answer."),
    ):
        flags.DEFINE_string(name, default, help_string, flag_values=values)
    for name, default, help_string in (
        ("port", 8000, "Port to listen at; 0: any that is free."),
        ("batch", start.batch, "Requests that are answered together."),
        ("queue", start.queue, "Requests that wait; more are refused."),
        ("max_request_bytes", start.request_bytes, "Of a request, images included."),
        ("max_image_pixels", start.image_pixels, "Of a request's images together."),
        ("new_tokens", NEW_TOKENS, "Of answers, where requests don't say max_tokens."),
    ):
        flags.DEFINE_integer(name, default, help_string, flag_values=values)
    flags.DEFINE_float(
        "timeout", start.seconds, "Seconds that a request may take to arrive.",
        flag_values=values,
    )  # fmt: skip


def _limits(values: FlagValues) -> Limits:
    """The limits of the flags; ValueError for what can't be."""
    limits = Limits(
        values.batch, values.queue, values.max_request_bytes, values.max_image_pixels,
        values.timeout, values.images,
    )  # fmt: skip
    limits_lib.check(limits)
    if values.images and not pathlib.Path(values.images).is_dir():
        raise ValueError(f"--images={values.images}: no such folder")
    return limits


def _manner(values: FlagValues) -> Manner:
    """How messages become prompts; ValueError for what can't be."""
    if values.new_tokens < 1:
        raise ValueError(f"--new_tokens={values.new_tokens}: must be at least 1")
    wanted = Request((), new_tokens=values.new_tokens)
    manner = Manner(values.template, values.between, wanted)
    chat.check(manner)
    return manner


if __name__ == "__main__":
    cli.explained(main, sys.argv)
