"""Weights in and out.

    python -m mmjax.convert import --model=llava-1.5-7b-hf --out=weights/llava
    python -m mmjax.convert import --encoder=clip --decoder=llama --out=weights/start
    python -m mmjax.convert export --checkpoint=runs/a --out=exported

import  Hugging Face checkpoints become one that `--config.init_from` names
export  a checkpoint becomes a LLaVA (or LLaVA-NeXT) of transformers, or its decoder

COMMAND --help lists its flags.
"""

import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from absl import flags
from absl.flags import FlagValues

from data_pipelines.inspect import command_line
from mmjax import cli
from mmjax import config as config_lib
from mmjax.convert import exporting, importing
from mmjax.convert.parts import Wishes


class Command(NamedTuple):
    """One way to convert."""

    define: Callable[[FlagValues], None]  # its flags
    with_config: bool
    run: Callable[[FlagValues], Iterator[str]]


def main(argv: Sequence[str]) -> None:
    """Runs the command that the arguments begin with; ValueError for a mistake."""
    name = argv[1] if len(argv) > 1 else "--help"
    if name in ("help", "--help", "-help", "-h"):
        print(__doc__)
        return
    if name not in COMMANDS:
        raise ValueError(f"{name!r}: the commands are {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    values = command_line.parse(command.define, command.with_config, argv[2:])
    if values.help:
        print(command_line.listed(values))
        return
    for line in command.run(values):
        print(line, flush=True)


def _define_import(values: FlagValues) -> None:
    for name, help_string in (
        ("model", "Folder of a whole LLaVA, LLaVA-NeXT or PaliGemma."),
        ("encoder", "Folder (or file of weights) of an image encoder."),
        ("second_encoder", "Folder of an encoder beside the first."),
        ("decoder", "Folder of a decoder."),
        ("tokenizer", "tokenizer.model or .json; default: the decoder's folder's."),
        ("out", "Folder to be made."),
    ):
        flags.DEFINE_string(name, "", help_string, flag_values=values)
    flags.DEFINE_integer(
        "features", None, "Layer of the encoder: -1 the last, -2 the one before.",
        upper_bound=-1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "image_size", None, "Side of images in pixels; default: the encoder's.",
        lower_bound=1, flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer(
        "vocab_size", 0, "Rows of the embedding, at least; new ones are the mean.",
        lower_bound=0, flag_values=values,
    )  # fmt: skip
    _define_dtype(values)
    flags.DEFINE_multi_string(
        "allow", [], "Pattern of our paths that may be missing, or of their tensors "
        "that may be unused; may be given several times.", flag_values=values,
    )  # fmt: skip


def _define_dtype(values: FlagValues) -> None:
    flags.DEFINE_enum(
        "dtype", "", ["", *config_lib.DTYPES], "Default: that of the checkpoint.",
        flag_values=values,
    )  # fmt: skip


def _import(values: FlagValues) -> Iterator[str]:
    _require(values, "out")
    parts = [values.encoder, values.second_encoder, values.decoder]
    if bool(values.model) == any(parts):
        raise ValueError(
            "what to import: --model, or one or more of --encoder, --second_encoder "
            "and --decoder"
        )
    target = None if values.config is None else command_line.config(values).model
    return importing.run(
        importing.Request(
            pathlib.Path(values.out),
            values.model,
            values.encoder,
            values.second_encoder,
            values.decoder,
            values.tokenizer,
            Wishes(values.features, values.image_size, values.vocab_size),
            target,
            values.dtype,
            values.allow,
        )
    )


def _define_export(values: FlagValues) -> None:
    for name, help_string in (
        ("checkpoint", "Folder of a run, of its checkpoints or of one of them."),
        ("tokenizer", "tokenizer.model or .json; default: the checkpoint's own."),
        ("family", "model_type of the decoder; default: one that can say it."),
        ("out", "Folder to be made."),
    ):
        flags.DEFINE_string(name, "", help_string, flag_values=values)
    flags.DEFINE_bool(
        "decoder_only", False, "Export the decoder alone.", flag_values=values
    )
    flags.DEFINE_float(
        "shard_gb", 5.0, "Size of a file of weights, at most.", lower_bound=1e-9,
        flag_values=values,
    )  # fmt: skip
    _define_dtype(values)


def _export(values: FlagValues) -> Iterator[str]:
    _require(values, "checkpoint", "out")
    return exporting.run(
        exporting.Request(
            values.checkpoint,
            pathlib.Path(values.out),
            values.decoder_only,
            values.family,
            values.tokenizer,
            values.dtype,
            int(values.shard_gb * 1e9),
        )
    )


def _require(values: FlagValues, *names: str) -> None:
    for name in names:
        if not values[name].value:
            raise ValueError(f"--{name} is missing: {values[name].help}")


COMMANDS = {
    "import": Command(_define_import, True, _import),
    "export": Command(_define_export, False, _export),
}

if __name__ == "__main__":
    cli.explained(main, sys.argv)
