"""The rules that a config obeys, checked before anything starts."""

import dataclasses
import math
import re

from mmjax import config as config_lib
from mmjax import connector_rules, model_rules
from mmjax.config import MOE_BACKENDS, Config, Mesh, Optim
from mmjax.model_rules import divides


def validate(config: Config) -> None:
    """Raises ValueError, with one line a broken rule, naming field, value and rule."""
    problems = [
        *_number_problems(config),
        *_choice_problems(config),
        *model_rules.problems(config.model, config.data.row_tokens),
        *connector_rules.problems(config.model),
        *_slot_problems(config),
        *_mixture_problems(config),
        *_layout_problems(config),
        *_objective_problems(config),
        *_task_problems(config),
        *_pattern_problems(config.optim),
        *_reduce_problems(config),
    ]
    if problems:
        raise ValueError("\n".join(problems))


MAY_BE_ZERO = {
    "model.connector.mlp_expand", "model.connector.qformer.text",
    "config.seed", "config.max_hours", "model.z_loss", "data.seed",
    "model.decoder.query_scale", "model.decoder.attention_softcap",
    "model.decoder.logit_softcap", "model.decoder.window",
    "model.decoder.global_every", "model.decoder.local_rope_theta",
    "data.pool_capacity", "data.max_images_per_row", "data.workers",
    "data.max_bad_share", "data.sample_world.seed", "data.sample_world.names",
    "optim.warmup_steps",
    "optim.weight_decay", "optim.final_lr_ratio", "optim.b1", "optim.b2",
    "model.decoder.moe.experts", "model.decoder.moe.capacity_factor",
    "model.decoder.moe.balance_loss", "model.decoder.moe.z_loss",
    "model.decoder.cross_attention.every", "model.decoder.cross_attention.row_images",
    "checkpoint.keep_every", "evaluation.every", "evaluation.samples",
    "evaluation.probe", "evaluation.examples", "evaluation.tasks_every",
    *(f"model.{vit}.{field}" for vit in ("vit", "second_vit")
      for field in ("layer_scale", "registers", "position_grid")),
}  # fmt: skip
NEGATIVE = {  # what may be: of features model_rules knows, a bias may be anything
    "model.vit.features", "model.second_vit.features",
    "model.objective.contrast.bias",
}  # fmt: skip


def _numbers(node: object, path: str):
    """Yields (path, value) of every number in a tree of dataclasses."""
    for field in dataclasses.fields(node):  # pyright: ignore[reportArgumentType]
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            parent = "" if path == "config." else path
            yield from _numbers(value, f"{parent}{field.name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{path}{field.name}", value


def _number_problems(config: Config) -> list[str]:
    problems = []
    for name, value in _numbers(config, "config."):
        if name in NEGATIVE:
            continue
        if name.startswith("mesh."):
            if value != -1 and value < 1:
                problems.append(f"{name}={value}: must be positive, or -1 for the rest")
        elif value < 0 or (value == 0 and name not in MAY_BE_ZERO):
            rule = "not be negative" if name in MAY_BE_ZERO else "be positive"
            problems.append(f"{name}={value}: must {rule}")
    if config.data.max_bad_share > 1:
        value = config.data.max_bad_share
        problems.append(f"data.max_bad_share={value:g}: must be at most 1")
    mesh = config.mesh
    if dataclasses.astuple(mesh).count(-1) > 1:
        problems.append("mesh: at most one axis may be -1")
    return problems


def _choice_problems(config: Config) -> list[str]:
    model = config.model
    choices = [
        *model_rules.encoder_choices(model),
        ("model.decoder.remat", model.decoder.remat, config_lib.REMATS),
        (
            "model.decoder.quantization",
            model.decoder.quantization,
            config_lib.QUANTIZATIONS,
        ),
        ("model.connector.remat", model.connector.remat, config_lib.REMATS),
        ("model.decoder.activation", model.decoder.activation, config_lib.GATES),
        (
            "model.decoder.rope_scaling.kind",
            model.decoder.rope_scaling.kind,
            config_lib.ROPE_SCALINGS,
        ),
        ("model.decoder.moe.backend", model.decoder.moe.backend, MOE_BACKENDS),
        (
            "model.decoder.cross_attention.images",
            model.decoder.cross_attention.images,
            config_lib.SEEN_IMAGES,
        ),
        ("model.connector.kind", model.connector.kind, config_lib.CONNECTORS),
        ("model.objective.kind", model.objective.kind, config_lib.OBJECTIVES),
        (
            "model.objective.contrast.loss",
            model.objective.contrast.loss,
            config_lib.CONTRASTS,
        ),
        (
            "model.objective.contrast.pool",
            model.objective.contrast.pool,
            config_lib.POOLS,
        ),
        ("model.attention", model.attention, config_lib.ATTENTIONS),
        ("model.dtype", model.dtype, config_lib.DTYPES),
        (
            "model.preprocessing.resize",
            model.preprocessing.resize,
            config_lib.IMAGE_RESIZES,
        ),
        (
            "model.preprocessing.interpolation",
            model.preprocessing.interpolation,
            config_lib.INTERPOLATIONS,
        ),
        ("optim.moments_dtype", config.optim.moments_dtype, config_lib.DTYPES),
        ("optim.reduce_dtype", config.optim.reduce_dtype, config_lib.REDUCE_DTYPES),
        ("mixture.unit", config.mixture.unit, config_lib.UNITS),
        ("data.on_bad_record", config.data.on_bad_record, config_lib.BAD_RECORDS),
    ]
    choices += [
        (f"data.sources[{i}].beyond", source.beyond, config_lib.EPOCH_POLICIES)
        for i, source in enumerate(config.data.sources)
    ]
    return [
        f"{name}={value!r}: must be one of {', '.join(allowed)}"
        for name, value, allowed in choices
        if value not in allowed
    ]


def _mixture_problems(config: Config) -> list[str]:
    names = [source.name for source in config.data.sources]
    problems = []
    if not names or "" in names or len(set(names)) < len(names):
        problems.append(f"data.sources={names}: need names, each different")
    problems += [
        f"data.sources[{i}].synthetic={source.synthetic}: must be a share, 0 to 1"
        for i, source in enumerate(config.data.sources)
        if not 0 <= source.synthetic <= 1
    ]
    problems += [
        f"data.sources[{i}].max_epochs={source.max_epochs}: must not be negative"
        for i, source in enumerate(config.data.sources)
        if source.max_epochs < 0
    ]
    changes = [("mixture.weights", config.mixture.weights)]
    changes += [
        (f"mixture.schedule[{i}].weights", change.weights)
        for i, change in enumerate(config.mixture.schedule)
    ]
    for name, weights in changes:
        problem = weights_problem(weights, names)
        if problem:
            problems.append(f"{name}={problem}")
    steps = [change.step for change in config.mixture.schedule]
    if steps != sorted(set(steps)) or (steps and steps[0] < 1):
        problems.append(f"mixture.schedule: steps {steps} must ascend from 1 or more")
    if config.optim.warmup_steps > config.steps:
        problems.append(
            f"optim.warmup_steps={config.optim.warmup_steps}: must not exceed "
            f"steps={config.steps}"
        )
    return problems


def weights_problem(weights: tuple[int, ...], names: list[str]) -> str:
    """The weights and the rule that they break; "" where they break none."""
    if len(weights) != len(names):
        return f"{weights}: needs one a source, {names}"
    if any(not isinstance(w, int) or w < 0 for w in weights) or not any(weights):
        return f"{weights}: integers >= 0, not all 0"
    if sum(weights) > 1_000_000:
        return f"{weights}: the sum must be at most 1000000"
    return ""


def _slot_problems(config: Config) -> list[str]:
    """Limits of image slots that one image, with all of its crops, would exceed."""
    preprocessing, data = config.model.preprocessing, config.data
    if model_rules.tiling_problems(preprocessing):
        return []
    crops = config_lib.most_crops(config.model)
    limits = {
        "data.max_images_per_row": data.max_images_per_row,
        "data.pool_capacity": data.pool_capacity,
        "model.decoder.cross_attention.row_images": (
            config.model.decoder.cross_attention.row_images
        ),
    }
    return [
        f"{name}={limit}: must be 0 or at least {crops}, the crops of an image"
        for name, limit in limits.items()
        if 0 < limit < crops
    ]


def _layout_problems(config: Config) -> list[str]:
    data, mesh, decoder = config.data, config.mesh, config.model.decoder
    problems = divides(
        "data.rows_per_pool", data.rows_per_pool,
        "data.rows_per_batch", data.rows_per_batch,
    )  # fmt: skip
    groups = data.rows_per_batch // max(1, data.rows_per_pool)
    pools = f"pool groups of a batch ({groups})"
    problems += divides("optim.accumulate", config.optim.accumulate, pools, groups)
    problems += divides(
        "data.pool_multiple", data.pool_multiple,
        "data.pool_capacity", data.pool_capacity,
    )  # fmt: skip
    micro = groups // max(1, config.optim.accumulate)
    if mesh.data > 0 and mesh.expert > 0:
        axes = "mesh.data" if mesh.expert == 1 else "mesh.data * mesh.expert"
        problems += divides(
            axes, mesh.data * mesh.expert, "pool groups of a microbatch", micro
        )
    if mesh.fsdp > 0:
        problems += divides(
            "mesh.fsdp", mesh.fsdp, "data.rows_per_pool", data.rows_per_pool
        )
    if mesh.fsdp > 0 and mesh.tensor > 0 and mesh.context > 0:
        axes = "mesh.fsdp * mesh.tensor" + " * mesh.context" * (mesh.context > 1)
        shards = mesh.fsdp * mesh.tensor * mesh.context
        problems += divides(axes, shards, "data.pool_multiple", data.pool_multiple)
    if mesh.context > 1:
        problems += _context_problems(config)
    if mesh.tensor > 1:
        for name in ("heads", "kv_heads", "mlp_width", "vocab_size"):
            size = getattr(decoder, name)
            problems += divides(
                "mesh.tensor", mesh.tensor, f"model.decoder.{name}", size
            )
    if mesh.expert > 1:
        experts = decoder.moe.experts
        problems += divides(
            "mesh.expert", mesh.expert, "model.decoder.moe.experts", experts
        )
        if not experts:
            problems.append(
                f"mesh.expert={mesh.expert}: must be 1, as the decoder has no experts"
            )
    return problems


def _context_problems(config: Config) -> list[str]:
    """What rows whose tokens lie over `mesh.context` ask for."""
    context, row_tokens = config.mesh.context, config.data.row_tokens
    problems = divides("2 * mesh.context", 2 * context, "data.row_tokens", row_tokens)
    chunk = min(config.model.loss_chunk, row_tokens)
    problems += divides("mesh.context", context, "model.loss_chunk", chunk)
    if config.model.decoder.moe.experts and config.model.decoder.moe.capacity_factor:
        problems.append(
            f"mesh.context={context}: must be 1 with "
            "model.decoder.moe.capacity_factor, as a row's tokens share its room"
        )
    return problems


def resolve_mesh(config: Config, devices: int) -> Mesh:
    """The mesh with -1 replaced, for this many devices.

    Raises ValueError where the axes don't multiply to the devices, or the resolved mesh
    breaks a rule of `validate`.
    """
    mesh = config.mesh
    sizes = dataclasses.astuple(mesh)
    known = math.prod(size for size in sizes if size > 0)
    sizes = [devices // known if size == -1 else size for size in sizes]
    if math.prod(sizes) != devices:
        raise ValueError(
            f"mesh: data={mesh.data} x fsdp={mesh.fsdp} x tensor={mesh.tensor} x "
            f"expert={mesh.expert} x context={mesh.context} must multiply to the "
            f"{devices} devices"
        )
    resolved = Mesh(*sizes)
    problems = _layout_problems(dataclasses.replace(config, mesh=resolved))
    if problems:
        raise ValueError("\n".join(problems))
    return resolved


def _objective_problems(config: Config) -> list[str]:
    """What encoders' objectives ask of the rest of a run."""
    kind, problems = config.model.objective.kind, []
    if kind == "contrastive" and config.optim.accumulate > 1:
        problems.append(
            f"optim.accumulate={config.optim.accumulate}: must be 1 with the "
            "contrastive objective (each image is compared with all texts of a batch, "
            "which microbatches would cut)"
        )
    if kind != "next_token" and config.evaluation.questions:
        problems.append(
            f"evaluation.questions={config.evaluation.questions!r}: must be empty, the "
            f"{kind} objective trains no model that answers"
        )
    if config.init_parts and not config.init_from:
        problems.append(
            f"init_parts={config.init_parts}: needs init_from, the checkpoint whose "
            "parts they are"
        )
    return problems


def _task_problems(config: Config) -> list[str]:
    """What tasks ask of a run; their names are checked when they open."""
    asked, kind, problems = config.evaluation, config.model.objective.kind, []
    if asked.tasks and kind != "next_token":
        problems.append(
            f"evaluation.tasks={asked.tasks}: must be empty, the {kind} objective "
            "trains no model that answers"
        )
    if "questions" in asked.tasks and not asked.questions:
        problems.append(
            f"evaluation.tasks={asked.tasks}: questions are those of "
            "evaluation.questions, which is empty"
        )
    if set(asked.tasks) - {"questions"} and not asked.tasks_root:
        problems.append(
            f"evaluation.tasks={asked.tasks}: their files lie in "
            "evaluation.tasks_root, which is empty"
        )
    if asked.tasks and (not asked.shots or min(asked.shots) < 0):
        problems.append(
            f"evaluation.shots={asked.shots}: must be numbers of solved examples, 0 or "
            "more"
        )
    return problems


def _pattern_problems(optim: Optim) -> list[str]:
    problems = []
    named = [("optim.frozen", pattern) for pattern in optim.frozen]
    named += [("optim.lr_rules", rule.pattern) for rule in optim.lr_rules]
    for name, pattern in named:
        try:
            re.compile(pattern)
        except re.error as error:
            problems.append(f"{name}={pattern!r}: not a regular expression ({error})")
    return problems


def _reduce_problems(config: Config) -> list[str]:
    value, model = config.optim.reduce_dtype, config.model
    if value == "model":
        return []
    others = {
        "model.decoder.moe.experts": model.decoder.moe.experts,
        "model.decoder.quantization": model.decoder.quantization,
        "model.vit.quantization": model.vit.quantization,
    }
    return [
        f"optim.reduce_dtype={value!r}: must be 'model' with {field}={asked!r}"
        for field, asked in others.items()
        if asked not in (0, "none")
    ]
