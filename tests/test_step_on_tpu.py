"""How TPUs sum gradients and keep the state, as their compiler has it; none is needed.

The mesh is data-parallel alone: all of the large arrays that devices send are gradients
or updated parameters.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from mmjax.estimate import compiling

ROOT = pathlib.Path(__file__).parent.parent
LARGE = 1 << 15  # numbers of the smallest kernel of the decoder's layers

COMPILED = """
import json, math, re, sys
sys.path.insert(0, "tests")
import jax
import synthetic
from jax.experimental import topologies
from mmjax import config as config_lib
from mmjax import inventory, sharding, step
from mmjax.models import vlm

config = synthetic.config(frozen=("^vit/", "^connector/"), **json.loads(sys.argv[1]))
decoder, config.model.dtype = config.model.decoder, "bfloat16"
decoder.width, decoder.mlp_width, decoder.head_size, decoder.layers = 512, 2048, 64, 4
decoder.vocab_size, decoder.remat = 1024, "full"
config.mesh, config.data.rows_per_batch = config_lib.Mesh(8, 1, 1), 16
config.data.row_tokens = config.model.loss_chunk = 128
described = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4")
mesh = sharding.make_mesh(config.mesh, described.devices)
model = vlm.build(config.model)
compiled = step.make_train_step(model, config, mesh).lower(
    step.abstract_state(model, config, mesh), sharding.batch_shapes(config, 8)
).compile()
sent = [
    (kind, dtype, math.prod(map(int, sizes.split(","))))
    for result, kind in re.findall(
        r" = (.*?) (all-reduce|all-gather|reduce-scatter)(?:-start)?\\(",
        compiled.as_text(),
    )
    for dtype, sizes in re.findall(r"(\\w+)\\[([\\d,]+)\\]", result)
]
sizes = compiled.memory_analysis()
scattered = re.findall(r"calls=%all-reduce-scatter", compiled.as_text())
print(json.dumps({
    "sent": sent,
    "scattered": len(scattered),
    "temporaries": sizes.temp_size_in_bytes,
    "in_place": sizes.alias_size_in_bytes,
    "held": inventory.memory(model, config, mesh, 8),
}))
"""


def compiled(**optim) -> dict:
    """What the compiler makes of a step with these settings of the optimizer."""
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    found = subprocess.run(
        [sys.executable, "-c", COMPILED, json.dumps(optim)],
        env=compiling.environment([]), cwd=ROOT, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def plain() -> dict:
    return compiled()


@pytest.fixture(scope="module")
def zero1() -> dict:
    return compiled(zero1=True, reduce_dtype="float32")


def dtypes(found: dict, *kinds: str) -> list[str]:
    """Of the large arrays that collectives of these kinds make."""
    return [
        dtype for kind, dtype, size in found["sent"] if kind in kinds and size >= LARGE
    ]


@pytest.mark.extra
def test_kernels_gradients_are_summed_in_bfloat16_or_in_what_is_asked_for(plain, zero1):
    # Seven kernels a layer, in one loop; tables' gradients are float32 in any case.
    sums = dtypes(plain, "all-reduce", "reduce-scatter")
    assert sums.count("bf16") == 7
    assert set(sums) == {"bf16", "f32"}
    assert set(dtypes(zero1, "all-reduce", "reduce-scatter")) == {"f32"}


@pytest.mark.extra
def test_zero1_scatters_sums_gathers_parameters_and_copies_none(plain, zero1):
    assert plain["scattered"] == 0
    assert dtypes(plain, "all-gather") == []
    assert zero1["scattered"] > 0
    assert len(dtypes(zero1, "all-gather")) == 9  # seven kernels and two tables
    held = zero1["held"]
    assert held["moments"] < 0.2 * plain["held"]["moments"]
    assert zero1["in_place"] >= held["parameters"] + held["moments"]
    # The old parameters, had they been copied, would come on top.
    more = zero1["temporaries"] - plain["temporaries"]
    assert more < 0.25 * held["parameters"]
