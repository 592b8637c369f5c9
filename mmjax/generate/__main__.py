"""A trained model says what follows a prompt.

    python -m mmjax.generate --workdir=runs/a --image=cat.jpg --prompt="A photo of"
    python -m mmjax.generate --workdir=runs/a --requests=asked.jsonl --out=said.jsonl
    python -m mmjax.generate --workdir=runs/a

The first answers one prompt, the second a file of requests (and goes on where it was
stopped), the third talks: a word @cat.jpg in what you type is an image. --config is
needed only to change what the checkpoint says, as in --config.mesh.fsdp=8.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl.flags import FlagValues

from data_pipelines.inspect import command_line
from mmjax import answering, cli, loading, prompt_parts
from mmjax.answering import Request
from mmjax.generate import chat, requests
from mmjax.generate.chat import Manner

POLICIES = ("stop", "record")


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it."""
    values = loading.asked(_define, __doc__, argv)
    if values is None:
        return
    _check(values)
    wanted = _wanted(values)
    asked = []
    if values.requests:  # what is wrong with the file is told before anything is loaded
        asked = requests.read(values.requests, wanted, values.on_bad_request == "stop")
    config = command_line.config(values) if values.config else None
    opened = loading.open(loading.place(values), config, values.cache)
    if values.requests:
        for line in requests.run(opened, asked, values.out, _batching(values)):
            print(line, flush=True)
    elif values.prompt is not None or values.image:
        images = [answering.image(path) for path in values.image]
        prompt = prompt_parts.woven(values.prompt or "", images)
        print(answering.answer(opened, [wanted._replace(parts=prompt)])[0].text)
    else:
        chat.talk(opened, _manner(values), sys.stdin)


def _define(values: FlagValues) -> None:
    loading.define(values)
    loading.define_cache(values)
    for name, default, help_string in (
        ("prompt", None, "Text to go on from; <image> marks where images stand."),
        ("requests", "", "JSONL: id, prompt, images and what else is asked."),
        ("out", "", "JSONL of answers to --requests; finished ids aren't repeated."),
        ("template", Manner().template, "What a typed line becomes in a talk."),
        ("between", Manner().between, "What stands after each answer of a talk."),
    ):
        flags.DEFINE_string(name, default, help_string, flag_values=values)
    flags.DEFINE_enum(
        "on_bad_request", "stop", POLICIES,
        "Requests that can't be answered end the program before it begins, or become "
        "lines with an error.", flag_values=values,
    )  # fmt: skip
    for name, help_string in (
        ("image", "File of an image; may be given several times."),
        ("stop", "The text ends before it; may be given several times."),
    ):
        flags.DEFINE_multi_string(name, [], help_string, flag_values=values)
    flags.DEFINE_multi_integer(
        "stop_id", [], "Id of a token that ends the text; may be given several times.",
        flag_values=values,
    )  # fmt: skip
    start = Request(())
    for name, default, help_string in (
        ("new_tokens", start.new_tokens, "Tokens to be said, at most."),
        ("top_k", start.top_k, "Choose among so many most likely tokens; 0: all."),
        ("seed", start.seed, "Of what is chosen by chance."),
        ("batch", 16, "Requests that are answered together."),
    ):
        flags.DEFINE_integer(name, default, help_string, flag_values=values)
    flags.DEFINE_float(
        "temperature", 0.0, "0: always the most likely token.", flag_values=values
    )
    flags.DEFINE_float(
        "top_p", 1.0, "Choose among the fewest tokens that are so likely.",
        flag_values=values,
    )  # fmt: skip


def _check(values: FlagValues) -> None:
    """Raises ValueError for flags that don't go together."""
    loading.place(values)
    if bool(values.requests) != bool(values.out):
        raise ValueError("--requests and --out: must be given together")
    if values.requests and (values.image or values.prompt is not None):
        raise ValueError("--requests: can't be given with --prompt or --image")
    if values.requests and not pathlib.Path(values.requests).is_file():
        raise ValueError(f"--requests={values.requests}: no such file")
    if values.batch < 1:
        raise ValueError(f"--batch={values.batch}: must be at least 1")
    chat.check(_manner(values))


def _wanted(values: FlagValues) -> Request:
    """What is asked of every prompt that doesn't say otherwise."""
    names = ("new_tokens", "temperature", "top_k", "top_p", "seed")
    fields: dict[str, Any] = {name: values[name].value for name in names}
    stop, stop_ids = tuple(values.stop), tuple(values.stop_id)
    return Request((), **fields, stop=stop, stop_ids=stop_ids)


def _manner(values: FlagValues) -> Manner:
    return Manner(values.template, values.between, _wanted(values))


def _batching(values: FlagValues) -> requests.Batching:
    return requests.Batching(values.batch, values.on_bad_request == "stop")


if __name__ == "__main__":
    cli.explained(main, sys.argv)
