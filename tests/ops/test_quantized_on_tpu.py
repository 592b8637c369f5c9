"""What TPUs multiply for quantized products, as their compiler has it."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from mmjax import hlo
from mmjax.estimate import compiling, products

ROOT = pathlib.Path(__file__).parent.parent.parent
ROWS, INPUTS, OUTPUTS = 4096, 512, 1024

COMPILED = f"""
import sys
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from mmjax.ops import quantized

name, kind = sys.argv[1:]
described = topologies.get_topology_desc(platform="tpu", topology_name=name)
where = SingleDeviceSharding(described.devices[0])

def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=where)

def train_step(x, kernel, dy):
    y, pull = jax.vjp(lambda x, k: quantized.tensordot(x, k, 1, kind), x, kernel)
    return y, pull(dy)

arrays = array({ROWS}, {INPUTS}), array({INPUTS}, {OUTPUTS}), array({ROWS}, {OUTPUTS})
jax.jit(train_step).lower(*arrays).compile()
"""

BF, S8, E4, E5 = "bf16", "s8", "f8e4m3fn", "f8e5m2"
OF_INT8 = [(BF, BF), (S8, S8), (S8, S8)]
OF_FP8 = [(E4, E4), (E4, E5), (E4, E5)]


@pytest.mark.extra
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("v5e:2x2", "int8", OF_INT8),
        ("v6e:2x2", "int8", OF_INT8),
        ("tpu7x:2x2x1", "fp8", OF_FP8),
    ],
)
def test_matrix_units_get_operands_of_8_bits(name, kind, expected, tmp_path):
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    subprocess.run(
        [sys.executable, "-c", COMPILED, name, kind],
        env=compiling.environment(compiling.dumping(tmp_path)), cwd=ROOT, check=True,
    )  # fmt: skip
    (program,) = tmp_path.glob(f"*{compiling.STEP}*{compiling.PROGRAM}.txt")
    with program.open() as lines:
        module = hlo.parse(lines)
    found = [
        tuple(sorted(a.shapes[0].dtype for a in hlo.operands(computation, each)))
        for computation in module.computations.values()
        for each in computation.instructions
        if products.flops(each, computation)
    ]
    assert sorted(found) == sorted(expected)
