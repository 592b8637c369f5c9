"""A model from its checkpoint, ready to answer."""

from collections.abc import Callable, Sequence

import absl.logging
import jax
from absl import flags
from absl.flags import FlagValues

from data_pipelines import pipeline
from data_pipelines.inspect import command_line
from mmjax import answering, checkpoint, sharding, validation
from mmjax import config as config_lib
from mmjax.answering import Answerer
from mmjax.config import Config
from mmjax.models import vlm

CACHES = ("", "bfloat16", "float32")


def define(values: FlagValues) -> None:
    """Defines the flags that say which model."""
    for name, help_string in (
        ("workdir", "Folder of the run."),
        ("checkpoint", "A checkpoint, or a folder of them; default: --workdir."),
    ):
        flags.DEFINE_string(name, "", help_string, flag_values=values)


def asked(
    define: Callable[[FlagValues], None], about: str | None, argv: Sequence[str]
) -> FlagValues | None:
    """The flags of a program that opens a model; None where it told its help instead.

    Libraries log warnings and errors from here on. ValueError for a mistake in flags.
    """
    values = command_line.parse(define, True, argv[1:])
    if values.help:
        print(f"{about}\n{command_line.listed(values)}")
        return None
    absl.logging.set_verbosity(absl.logging.WARNING)
    return values


def define_cache(values: FlagValues) -> None:
    """Defines --cache, of `open`."""
    flags.DEFINE_enum(
        "cache", "", CACHES,
        "How keys and values are kept; default: as the activations.",
        flag_values=values,
    )  # fmt: skip


def place(values: FlagValues) -> str:
    """The run or checkpoint that the flags name; ValueError where they name none."""
    found = values.checkpoint or values.workdir
    if not found:
        raise ValueError("--workdir is missing: the folder of a run")
    return found


def open(place: str, config: Config | None, cache: str) -> Answerer:
    """The model of a run or checkpoint; without a config, that of the checkpoint.

    The latter may be of another mesh: here rows, and slices of weights, lie over all
    devices. ValueError where there is none, it is another config's or makes no text.
    """
    devices = jax.device_count()
    if config is None:
        config, over = _config_of(place), config_lib.Mesh(data=1, fsdp=devices)
    else:
        over = validation.resolve_mesh(config, devices)
    kind = config.model.objective.kind
    if kind != "next_token":
        raise ValueError(
            f"model.objective.kind={kind}: must be next_token to make text"
        )
    tokenizer = pipeline.open_tokenizer(config)
    mesh = sharding.make_mesh(over)
    shapes = jax.eval_shape(vlm.build(config.model).init, jax.random.key(0))
    params = checkpoint.load_weights(place, sharding.placed(shapes, mesh))
    missing = sorted(set(shapes) - set(params))
    if missing:
        raise ValueError(
            f"{place}: holds no {missing[0]}; train it, or import it whole"
        )
    return answering.ready(config, mesh, tokenizer, params, cache)


def _config_of(place: str) -> Config:
    """The config that a checkpoint was written with."""
    meta = checkpoint.look(place).meta
    if "config" not in meta:
        raise ValueError(f"--config is missing: {place} was saved without one")
    config = config_lib.from_dict(meta["config"])
    validation.validate(config)
    return config
