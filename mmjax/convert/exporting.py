"""`export`: a checkpoint becomes a LLaVA of transformers, or its decoder alone.

What the other side's config can't say is refused with the reason, before anything is
written.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mmjax import checkpoint, optim, sharding
from mmjax import config as config_lib
from mmjax.config import Model
from mmjax.convert import (
    llava,
    output,
    processor,
    storing,
    tensor_writer,
    tokenizer_files,
    words,
)
from mmjax.convert.families import decoder_rules, family
from mmjax.convert.families.family import Settings
from mmjax.convert.rules import Rule
from mmjax.convert.tensor_writer import Pending
from mmjax.convert.tokenizer_files import Exported


class Request(NamedTuple):
    """What the command line asks for."""

    checkpoint: str
    out: pathlib.Path
    decoder_only: bool = False
    family: str = ""  # of the decoder; empty: the first that can say it
    tokenizer: str = ""  # file; empty: the checkpoint's own
    dtype: str = ""  # empty: that of the checkpoint
    shard_bytes: int = 5 * 10**9


class Plan(NamedTuple):
    """What is going to be written."""

    settings: Settings
    rules: list[Rule]
    more: list[Pending]  # tensors that aren't ours
    parts: tuple[str, ...]  # of our parameters


def run(request: Request) -> Iterator[str]:
    """Exports, and tells what it does, line by line.

    Raises ValueError, and leaves nothing behind, where it can't be done.
    """
    output.require_free(request.out)
    stored, meta = checkpoint.look(request.checkpoint)
    model = config_lib.from_dict({"model": meta["config"]["model"]}).model
    _require_text(request.checkpoint, model)
    found = words.of_checkpoint(request.tokenizer, request.checkpoint, meta)
    tokenizer = None if found is None else tokenizer_files.exported(found)
    _require_room(model, tokenizer)
    image_id = _image_id(model, tokenizer)
    plan = _plan(request, model, image_id)
    _require_parts(request.checkpoint, plan.parts, stored)
    yield f"a {plan.settings['architectures'][0]} of {request.checkpoint}"
    params = _load(request.checkpoint, stored)
    if "vit" in plan.parts:
        params = llava.with_own_positions(model, params)
    tensors = storing.pending(plan.rules, params, request.dtype) + plan.more
    with output.made(request.out) as part:
        tensor_writer.write(part, tensors, request.shard_bytes)
        files = {"config.json": {**plan.settings, **_ids(tokenizer)}}
        if tokenizer is not None:
            files |= tokenizer.files
        if tokenizer is not None and "vit" in plan.parts:
            files |= processor.files(model, tokenizer.spelled["image"])
        for name, content in files.items():
            _write_json(part / name, content)
    total = sum(tensor.bytes for tensor in tensors)
    yield f"written: {request.out} ({len(tensors)} tensors, {total / 1e9:.3f} GB)"
    if tokenizer is None:
        yield "without a tokenizer: none is beside the checkpoint, --tokenizer names it"


def _plan(request: Request, model: Model, image_id: int) -> Plan:
    decoder = llava.decoder_family(model.decoder, request.family)
    if not request.decoder_only:
        settings = llava.settings(model, decoder, image_id)
        parts = ("vit", "connector", "decoder")
        rules = llava.rules(model, decoder)
        return Plan(settings, rules, llava.unused_norm(model), parts)
    settings = family.settings_of(decoder, model.decoder, "model.decoder")
    settings = {"architectures": [decoder.architecture], **settings}
    rules = decoder.rules(model.decoder, decoder_rules.ROOTS[0])
    return Plan(settings, rules, [], ("decoder",))


def _image_id(model: Model, tokenizer: Exported | None) -> int:
    """The token of images: the tokenizer's, else the vocabulary's last."""
    return model.decoder.vocab_size - 1 if tokenizer is None else tokenizer.ids["image"]


def _ids(tokenizer: Exported | None) -> Settings:
    if tokenizer is None:
        return {}
    return {f"{name}_token_id": tokenizer.ids[name] for name in ("bos", "eos", "pad")}


def _require_text(path: str, model: Model) -> None:
    kind = model.objective.kind
    if kind != "next_token":
        raise ValueError(
            f"{path}: was trained by the {kind} objective and makes no text, so there "
            "is nothing to export; a run takes its encoder by init_from and "
            "init_parts=('vit',)"
        )


def _require_room(model: Model, tokenizer: Exported | None) -> None:
    rows = model.decoder.vocab_size
    if tokenizer is not None and max(tokenizer.ids.values()) >= rows:
        raise ValueError(
            f"--tokenizer: has ids up to {max(tokenizer.ids.values())}, the model's "
            f"vocabulary {rows} rows; it is not the one that it was trained with"
        )


def _require_parts(path: str, parts: Sequence[str], stored: Mapping[str, Any]) -> None:
    absent = [p for p in parts if not any(name.startswith(f"{p}/") for name in stored)]
    if absent:
        raise ValueError(
            f"{path}: holds no {' and no '.join(absent)}; --decoder_only exports the "
            "decoder alone"
        )


def _load(path: str, stored: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The parameters by path, as they are stored, spread over all devices."""
    mesh = sharding.make_mesh(config_lib.Mesh(1, jax.device_count(), 1))
    wanted = sharding.placed(optim.unflatten(stored), mesh)
    return optim.flatten(checkpoint.load_weights(path, wanted))


def _write_json(path: pathlib.Path, content: Settings) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
