"""What TPUs run for dropless experts, as their compiler has it; no TPU is needed."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from mmjax.estimate import compiling

ROOT = pathlib.Path(__file__).parent.parent.parent
TOKENS, TOP, EXPERTS, WIDTH, HIDDEN = 4096, 2, 8, 512, 1024

COMPILED = f"""
import json
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from mmjax.ops import experts, moe, pointwise

described = topologies.get_topology_desc(platform="tpu", topology_name="v5p:2x2x1")
where = SingleDeviceSharding(described.devices[0])

def array(*shape, dtype=jnp.bfloat16):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

def total(x_JD, kernels, logits_JX):
    routes = moe.route(logits_JX, {TOP})
    real_J = jnp.ones(x_JD.shape[0], bool)
    return jnp.sum(experts.dropless(
        x_JD, routes, real_J, kernels, pointwise.GATES["silu"], "ragged_dot"))

step = jax.jit(jax.value_and_grad(total, argnums=(0, 1))).lower(
    array({TOKENS}, {WIDTH}),
    experts.Kernels(
        array({EXPERTS}, {WIDTH}, {HIDDEN}), array({EXPERTS}, {WIDTH}, {HIDDEN}),
        array({EXPERTS}, {HIDDEN}, {WIDTH}),
    ),
    array({TOKENS}, {EXPERTS}, dtype=jnp.float32),
).compile()
print(json.dumps({{"flops": step.cost_analysis()["flops"]}}))
"""


@pytest.mark.extra
def test_each_choice_is_multiplied_by_its_own_expert_alone():
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    found = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env=compiling.environment([]), cwd=ROOT, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    result = json.loads(found.stdout)
    # Three products forward, twice as many backward, of which none is made again.
    least = 3 * 3 * 2 * TOKENS * TOP * WIDTH * HIDDEN
    assert least <= result["flops"] <= 1.1 * least
