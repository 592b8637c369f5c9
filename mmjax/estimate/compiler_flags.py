"""Options of the compiler by generation of hardware, each with the reason for it.

TPUs' are chosen by predicted step times of MM1-3B. Those that move collectives to the
SparseCore change who adds numbers up, and in which order: compare the losses of a short
run with and without them (`--flags=none`) before a long one. GPUs' are what jax ("GPU
performance tips") and NVIDIA's JAX-Toolbox ("Tips for High-Performance LLMs") give for
weights that lie over devices; what they gain here was never measured.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Flag(NamedTuple):
    """One option of the compiler."""

    name: str
    value: str
    reason: str


def _offload(what: str, reason: str) -> Flag:
    return Flag(f"xla_tpu_enable_sparse_core_collective_offload_{what}", "true", reason)


def _no_fusion(what: str) -> Flag:
    return Flag(
        f"xla_tpu_enable_async_collective_fusion_fuse_{what}",
        "false",
        "the SparseCore takes them; fusing them into products is v5e's way only",
    )


SPARSE_CORE = (
    _offload("all_gather", "weights are gathered beside the products of a layer"),
    _offload("reduce_scatter", "gradients are summed beside the backward pass"),
    _offload("all_reduce", "likewise, over slices of data; check the losses first"),
    _offload("2d_all_gather", "uses the links of two axes of the torus at once"),
    _offload("3d_all_gather", "likewise of three"),
    *(_no_fusion(what) for what in ("all_gather", "all_reduce", "reduce_scatter")),
    Flag(
        "xla_tpu_use_tc_device_shape_on_sc",
        "true",
        "the SparseCore takes arrays as the core has them: no copies between layouts",
    ),
)
EVERYWHERE = (
    Flag(
        "xla_jf_spmd_threshold_for_windowed_einsum_mib",
        "1000000",
        "gathered weights make larger products than a ring of parts of them",
    ),
    Flag(
        "xla_enable_async_all_gather",
        "true",
        "the next layer's weights come while this one is computed",
    ),
    Flag(
        "xla_tpu_prefer_async_allgather_to_allreduce",
        "true",
        "a gather that would be an all-reduce of zeros sends twice the bytes",
    ),
    Flag(
        "xla_tpu_use_minor_sharding_for_major_trivial_input",
        "true",
        "shards along the last axis need no copy before they are sent",
    ),
    Flag(
        "xla_tpu_relayout_group_size_threshold_for_reduce_scatter",
        "1",
        "gradients get the layout that their shards need before they are sent",
    ),
    Flag(
        "xla_tpu_assign_all_reduce_scatter_layout",
        "true",
        "likewise where an all-reduce keeps a shard only",
    ),
)
LARGE_VMEM = Flag(
    "xla_tpu_scoped_vmem_limit_kib",
    "98304",
    "larger tiles fill its large matrix units; compiles 4 to 8 times longer",
)


def _combine(what: str, reason: str) -> Flag:
    return Flag(f"xla_gpu_{what}_combine_threshold_bytes", "1073741824", reason)


def _pipeline(what: str, reason: str) -> Flag:
    return Flag(f"xla_gpu_enable_pipelined_{what}", "true", reason)


GPUS = (
    Flag(
        "xla_gpu_enable_latency_hiding_scheduler",
        "true",
        "collectives go on beside products instead of between them",
    ),
    Flag(
        "xla_gpu_enable_highest_priority_async_stream",
        "true",
        "collectives aren't kept waiting by products that began before them",
    ),
    _combine("all_gather", "one message for the weights of a layer, not one for each"),
    _combine("reduce_scatter", "likewise for the gradients of a layer"),
    _combine("all_reduce", "likewise over copies of the shards (mesh.data)"),
    _pipeline("all_gather", "the next layer's weights come while this one is computed"),
    _pipeline("reduce_scatter", "a layer's gradients leave while the next is computed"),
    _pipeline("all_reduce", "likewise over copies of the shards (mesh.data)"),
    Flag(
        "xla_gpu_enable_while_loop_double_buffering",
        "true",
        "a loop over layers keeps two layers' weights, so that they aren't copied",
    ),
)

FLAGS: Mapping[str, tuple[Flag, ...]] = {
    "v4": (),
    "v5e": (),
    "v5p": (*EVERYWHERE, *SPARSE_CORE),
    "v6e": (*EVERYWHERE, *SPARSE_CORE, LARGE_VMEM),
    "tpu7x": (*EVERYWHERE, *SPARSE_CORE),
    "a100": GPUS,
    "h100": GPUS,
    "h200": GPUS,
}


def lines(generation: str, chosen: Mapping[str, str]) -> Iterator[str]:
    """Options with their reasons, and the variable that gives them to a real run."""
    reasons = {flag.name: flag.reason for flag in FLAGS[generation]}
    for name, value in chosen.items():
        yield f"{name}={value}: {reasons.get(name, 'asked for')}"
    arguments = " ".join(f"--{name}={value}" for name, value in chosen.items())
    variable = "XLA_FLAGS" if FLAGS[generation] is GPUS else "LIBTPU_INIT_ARGS"
    yield f"{variable}='{arguments}'"


def options(generation: str, chosen: str, more: list[str]) -> dict[str, str]:
    """The compiler's options of a command line.

    `chosen` is "default" for those of FLAGS, or "none"; `more` are NAME=VALUE, and
    NAME= takes one away. Raises ValueError for anything else.
    """
    found = {}
    if chosen == "default":
        found = {flag.name: flag.value for flag in FLAGS[generation]}
    for entry in more:
        name, equals, value = entry.removeprefix("--").partition("=")
        if not equals or not name:
            raise ValueError(f"--flag={entry}: must be NAME=VALUE")
        found[name] = value
    return {name: value for name, value in found.items() if value}
