"""A small program with a loop, an overlap and named parts, and its prediction."""

import copy

from configs import mm1_3b
from mmjax import config as config_lib
from mmjax import hlo
from mmjax.estimate import prediction, replay, topologies, workload
from mmjax.flops import Work

CYCLE = 0.92 / 1.75e9  # seconds of v5p, calibrated

_PLACE = "jit(train_step)/{}/decoder/while/body/closed_call/{}blocks/{}"


def _fusion(name: str, called: str, cycles: int, scope: str) -> str:
    return (
        f"%{name} = bf16[1024,1024]{{1,0}} fusion(%w, %w), kind=kOutput, "
        f'calls=%{called}, metadata={{op_name="{scope}"}}, '
        f'backend_config={{"estimated_cycles":"{cycles}"}}'
    )


def _scope(direction: str, rest: str, again: str = "") -> str:
    return _PLACE.format(direction, again, rest)


GATHER = "(bf16[131072], bf16[524288]) all-gather-start(%s)"
LINES = [
    "%w = bf16[1024,1024]{1,0} parameter(0)",
    "%s = bf16[131072]{0} constant({...})",
    f"%a = {GATHER}, replica_groups={{{{0,1,2,3}}}}",
    _fusion("up", "product", 40_000, _scope("jvp(VLM)", "mlp/up/dot_general")),
    _fusion(
        "again", "product", 30_000,
        _scope("transpose(jvp(VLM))", "mlp/up/dot_general",
               "checkpoint/rematted_computation/"),
    ),
    _fusion("query", "product", 20_000,
            _scope("transpose(jvp(VLM))", "attention/query/dot_general")),
    _fusion("score", "product", 10_000,
            _scope("jvp(VLM)", "attention/vmap(BKGTH,BKSH->BKGTS)/dot_general")),
    _fusion("norm", "sum", 5_000, _scope("jvp(VLM)", "norm_mlp/mul")),
    "%g = bf16[524288]{0} all-gather-done(%a)",
]  # fmt: skip
OUTSIDE = [
    _fusion("loss", "sum", 7_000, "jit(train_step)/jvp()/while/body/exp"),
    _fusion("adam", "sum", 9_000, "jit(train_step)/mul"),
]
PASSES = 5
TEXT = """%product (a: bf16[1024,1024], b: bf16[1024,1024]) -> bf16[1024,1024] {{
  %a = bf16[1024,1024]{{1,0}} parameter(0)
  %b = bf16[1024,1024]{{1,0}} parameter(1)
  ROOT %c = bf16[1024,1024]{{1,0}} convolution(%a, %b), dim_labels=bf_io->bf
}}
%sum (a: bf16[1024,1024], b: bf16[1024,1024]) -> bf16[1024,1024] {{
  %a = bf16[1024,1024]{{1,0}} parameter(0)
  %b = bf16[1024,1024]{{1,0}} parameter(1)
  ROOT %c = bf16[1024,1024]{{1,0}} add(%a, %b)
}}
%cond (p: (s32[])) -> pred[] {{
  %p = (s32[]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %n = s32[] constant({passes})
  ROOT %c = pred[] compare(%i, %n), direction=LT
}}
%body (p: (s32[])) -> (s32[]) {{
  %p = (s32[]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  {inside}
  ROOT %out = (s32[]) tuple(%next)
}}
ENTRY %main (w: bf16[1024,1024]) -> (s32[]) {{
  %w = bf16[1024,1024]{{1,0}} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[]) tuple(%zero)
  %loop = (s32[]) while(%start), condition=%cond, body=%body
  {outside}
}}
"""


def played() -> replay.Replay:
    """The program on a v5p."""
    text = TEXT.format(
        passes=PASSES, inside="\n  ".join(LINES), outside="\n  ".join(OUTSIDE)
    )
    module = hlo.parse(text.splitlines(keepends=True))
    return replay.replay(module, topologies.GENERATIONS["v5p"])


RESULT = {
    "seconds": 12.0,
    "attention": "model.vit.attention=splash, model.attention=splash",
    "trainable": ["decoder/blocks/mlp/up/kernel"],
    "held": {"parameters": 3 * 2**30, "moments": 6 * 2**30, "gradients": 3 * 2**30,
             "batch": 2**30},
    "sizes": {
        "argument_size_in_bytes": 11 * 2**30, "output_size_in_bytes": 9 * 2**30,
        "alias_size_in_bytes": 9 * 2**30, "temp_size_in_bytes": 20 * 2**30,
        "generated_code_size_in_bytes": 2**20,
    },
}  # fmt: skip


def config() -> config_lib.Config:
    """MM1-3B on 64 devices."""
    made = copy.deepcopy(mm1_3b.get_config())
    made.mesh = config_lib.Mesh(4, 16, 1, 1)
    return made


def predicted(
    topology: str = "v5p:4x4x4", price_per_chip_hour: float = 0.0
) -> prediction.Prediction:
    """The prediction of the program, as if it were a step of MM1-3B's."""
    load = workload.Workload(256, Work(1000, 4096 * 512, 1e9, 1e9), "by hand")
    return prediction.predict(
        config(),
        topologies.parse(topology),
        load,
        RESULT,
        REPORT,
        played(),
        price_per_chip_hour,
    )


REPORT = """Memory Space: default (color=0)
Total bytes: 26906567168 (25.06GiB)
  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
    6.25GiB( 33%);    6.25GiB;   6710886400;                2; f32[1,40960,40960], f32[40960,40960]
   12.50GiB( 67%);    6.50GiB;  13421772800;                2; 2×s32[1,40960,40960]
   18.75GiB(100%);    512.00MiB;            0;                1; f32[1,40960]
   18.75GiB(100%);       512B;  20132757504;                1; (f32[1,40960,128], u32[])

  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
   60.00GiB(100%);   60.00GiB;            0;                3; f32[40960,40960]
"""  # noqa: E501
