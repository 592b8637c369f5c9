"""`import`: a checkpoint of another project becomes one that a run starts from.

Everything is looked at before anything is written, and what is written gets its name
when it is whole.
"""

import dataclasses
import json
import math
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from mmjax import checkpoint, model_rules, optim, sharding
from mmjax import config as config_lib
from mmjax.config import Connector, Model, SecondViT
from mmjax.convert import folder, loading, matching, output, parts, words
from mmjax.convert.families import family
from mmjax.convert.folder import Folder
from mmjax.convert.matching import Match
from mmjax.convert.parts import Piece, Wishes
from mmjax.convert.rules import Rule
from mmjax.models import vlm

_LONG = 1 << 20  # tokens of a row, more than any model's images need


class Request(NamedTuple):
    """What the command line asks for."""

    out: pathlib.Path
    model: str = ""  # folder of a whole model
    encoder: str = ""  # or of parts
    second_encoder: str = ""
    decoder: str = ""
    tokenizer: str = ""  # file; empty: of the folder of the decoder or the model
    wishes: Wishes = Wishes()
    target: Model | None = None  # the model that it must fit; None: as it comes
    dtype: str = ""  # empty: that of the checkpoint
    allow: Sequence[str] = ()  # patterns of what may be missing or unused


class Found(NamedTuple):
    """A folder, the parts it holds, and which tensor is which of their parameters."""

    folder: Folder
    pieces: list[Piece]
    match: Match


def run(request: Request) -> Iterator[str]:
    """Imports, and tells what it does, line by line.

    Raises ValueError, and leaves nothing behind, where it can't be done.
    """
    output.require_free(request.out)
    tokenizer = words.find(request.tokenizer, request.model or request.decoder)
    wishes = _as_target(request)
    if tokenizer is not None:
        least = max(wishes.vocab_size, words.ids(tokenizer))
        wishes = wishes._replace(vocab_size=least)
    wishes = wishes._replace(allow=request.allow)
    opened = _open(request._replace(wishes=wishes))
    model = _model([piece for _, pieces in opened for piece in pieces], request.target)
    wanted = placed(model, _mesh())
    found = [Found(f, p, _match(f, p, wanted, request.allow)) for f, p in opened]
    yield from _told(found, wanted)
    params: dict[str, jax.Array] = {}
    for one in found:
        tensors = one.folder.tensors
        params |= loading.load(one.match.rules, tensors, wanted, request.dtype)
        params |= _fresh(model, one.match.fresh, wanted)
    with output.made(request.out) as part:
        _write(part, params, model, found, tokenizer)
    yield f"written: {request.out} ({_size(params)})"


def _as_target(request: Request) -> Wishes:
    """What the target decides where neither the user nor a whole model says it."""
    wishes, target = request.wishes, request.target
    if target is None:
        return wishes
    features = wishes.features
    if features is None and not request.model:
        features = target.vit.features
    return wishes._replace(
        features=features,
        image_size=wishes.image_size or target.vit.image_size,
        vocab_size=max(wishes.vocab_size, target.decoder.vocab_size),
        cross_attention=target.decoder.cross_attention,
    )


def placed(model: Model, mesh: Mesh) -> dict[str, Any]:
    """Our parameters by path, as `ShapeDtypeStruct`s on a mesh."""
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    return optim.flatten(sharding.placed(shapes, mesh))


def _mesh() -> Mesh:
    """All devices, each with a slice of the weights."""
    return sharding.make_mesh(config_lib.Mesh(1, jax.device_count(), 1))


def _open(request: Request) -> list[tuple[Folder, list[Piece]]]:
    """The folders, and the parts in them."""
    wishes, opened = request.wishes, []
    if request.model:
        found = folder.read(pathlib.Path(request.model))
        where, tensors = str(found.path / "config.json"), found.tensors
        pieces = parts.whole(found.settings, found.images, tensors, wishes, where)
        opened.append((found, pieces))
    for name, path in (
        ("vit", request.encoder),
        ("second_vit", request.second_encoder),
    ):
        if path:
            found = folder.read(pathlib.Path(path))
            where, tensors = str(found.path / "config.json"), found.tensors
            piece = parts.encoder(found.settings, found.images, tensors, wishes, where)
            opened.append((found, [piece if name == "vit" else _second(piece)]))
    if request.decoder:
        found = folder.read(pathlib.Path(request.decoder))
        where = str(found.path / "config.json")
        piece = parts.decoder(found.settings, found.tensors, wishes, where)
        opened.append((found, [piece]))
    return opened


def _second(piece: Piece) -> Piece:
    """An encoder as the second one of a model."""
    vit = SecondViT(**dataclasses.asdict(piece.config), enabled=True)
    rules = [rule._replace(ours=f"second_{rule.ours}") for rule in piece.rules]
    return Piece("second_vit", vit, rules, piece.ignored)


def _model(pieces: Sequence[Piece], target: Model | None) -> Model:
    """The model of these parts, fit to be shaped; the rest is the target's.

    Raises ValueError where a part isn't the target's, or parts don't fit each other.
    """
    model = dataclasses.replace(
        Model() if target is None else target, **{p.name: p.config for p in pieces}
    )
    if target is not None:
        lines = [
            line
            for name, part in ((p.name, p.config) for p in pieces)
            for line in family.differences(
                f"model.{name}", getattr(target, name), part, "the checkpoint's"
            )
            if name != "preprocessing" or (part.newline and ".newline=" in line)
        ]
        model.preprocessing = target.preprocessing  # how images are seen is its own
    else:
        if all(piece.name != "connector" for piece in pieces):  # any that fits
            patches = config_lib.patches(model.vit)
            model.connector = Connector(kind="mlp", tokens=patches)
        lines = model_rules.problems(model, _LONG)
    if lines:
        raise ValueError("\n".join(lines))
    return model


def _match(
    opened: Folder, pieces: Sequence[Piece], wanted: Mapping[str, Any], allow: Any
) -> Match:
    """Which tensor is which parameter; ValueError, naming the folder, for misfits."""
    names = {piece.name for piece in pieces}
    ours = {p: leaf for p, leaf in wanted.items() if p.partition("/")[0] in names}
    rules = [rule for piece in pieces for rule in piece.rules]
    ignored = [pattern for piece in pieces for pattern in piece.ignored]
    try:
        return matching.match(rules, ours, opened.tensors, ignored, allow)
    except ValueError as error:
        raise ValueError(f"{opened.path}: doesn't fit\n{error}") from error


def _fresh(
    model: Model, paths: Sequence[str], wanted: Mapping[str, Any]
) -> dict[str, jax.Array]:
    """Parameters that the checkpoint lacks, as a run that starts anew makes them."""
    if not paths:
        return {}

    def some(key: Any) -> list[jax.Array]:
        made = optim.flatten(vlm.build(model).init(key))
        return [made[path] for path in paths]

    shardings = [wanted[path].sharding for path in paths]
    made = jax.jit(some, out_shardings=shardings)(jax.random.key(0))
    return dict(zip(paths, made))


def _write(
    part: pathlib.Path,
    params: Mapping[str, jax.Array],
    model: Model,
    found: Sequence[Found],
    tokenizer: pathlib.Path | None,
) -> None:
    """The checkpoint, model.json for config files, and the tokenizer."""
    pieces = [piece for one in found for piece in one.pieces]
    said = {p.name: dataclasses.asdict(getattr(model, p.name)) for p in pieces}
    origins = {p.name: str(one.folder.path) for one in found for p in one.pieces}
    meta = {"config": {"model": said}, "imported": origins}
    checkpoint.save_weights(str(part), optim.unflatten(params), meta)
    (part / "model.json").write_text(json.dumps(said, indent=2) + "\n")
    if tokenizer is not None:
        shutil.copyfile(tokenizer, part / tokenizer.name)


def _told(found: Sequence[Found], wanted: Mapping[str, Any]) -> Iterator[str]:
    """What was matched, part by part, and what is left alone."""
    for one in found:
        yield f"{one.folder.path}: {len(one.folder.tensors)} tensors"
        for piece in one.pieces:
            if not piece.rules:
                yield f"  {piece.name} there: {_said(piece.config) or 'our defaults'}"
                continue
            rules = [r for p, r in one.match.rules.items() if _part(p) == piece.name]
            names = {name for rule in rules for name in rule.names()}
            count = sum(math.prod(wanted[rule.ours].shape) for rule in rules)
            yield (
                f"  {piece.name}: {count:,} numbers in {len(rules)} parameters, from "
                f"{len(names)} tensors"
            )
        for path in one.match.fresh:
            yield f"  new, as allowed: {path} {list(wanted[path].shape)}"
        for rule in one.match.rules.values():
            yield from _grown(rule, one.folder.tensors, wanted[rule.ours].shape)
        for what, names in (
            ("dropped, as allowed", one.match.unused),
            ("of no use here", one.match.ignored),
        ):
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                yield f"  {what}: {len(names)} tensors ({shown})"


def _said(part: Any) -> str:
    """The fields of a config that aren't the defaults."""
    values = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
    return ", ".join(
        f"{name}={value}"
        for name, value in values.items()
        if value != getattr(type(part)(), name)
    )


def _part(path: str) -> str:
    return path.partition("/")[0]


def _grown(rule: Rule, tensors: Any, shape: Sequence[int]) -> Iterator[str]:
    if rule.grows is not None:
        new = shape[rule.grows] - tensors[rule.theirs].shape[0]
        if new:
            yield f"  {rule.ours}: {new} new entries, the mean of the others"


def _size(params: Mapping[str, jax.Array]) -> str:
    return f"{sum(x.nbytes for x in params.values()) / 1e9:.3f} GB"
