import jax
import numpy as np
import pytest
import synthetic
from jax.sharding import PartitionSpec as P

from mmjax import config as config_lib
from mmjax import inventory, sharding, step
from mmjax.models import vlm


def test_the_table_has_every_parameter_with_its_rules():
    config = synthetic.config(
        frozen=("^vit/",), lr_rules=(config_lib.LrRule("^connector/", 3.0),)
    )
    model = vlm.build(config.model)
    rows = inventory.describe(model, config, synthetic.mesh(synthetic.EIGHT))
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(row.numbers for row in rows) == sum(
        leaf.size for leaf in jax.tree.leaves(params)
    )
    by_path = {row.path: row for row in rows}
    assert list(by_path) == sorted(by_path)
    kernel = by_path["decoder/blocks/mlp/up/kernel"]
    assert kernel.spec == P(None, "fsdp", "tensor")
    assert (kernel.trainable, kernel.decayed, kernel.multiplier) == (True, True, 1.0)
    queries = by_path["connector/queries"]
    assert (queries.trainable, queries.decayed, queries.multiplier) == (True, False, 3)
    patches = by_path["vit/patch_embed/kernel"]
    assert (patches.trainable, patches.decayed) == (False, False)


def test_memory_is_what_one_device_holds():
    config = synthetic.config(frozen=("^vit/",))
    mesh, model = synthetic.mesh(synthetic.EIGHT), vlm.build(config.model)
    memory = inventory.memory(model, config, mesh, config.data.pool_capacity)

    def bytes_held(tree):
        leaves = jax.tree.leaves(tree)
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)

    shapes = sharding.batch_shapes(config, config.data.pool_capacity)
    batch = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    with synthetic.quick_compilation():
        state = step.init_state(model, config, mesh, jax.random.key(0))
    assert memory == {
        "parameters": bytes_held(state.params),
        "moments": bytes_held(state.opt_state),
        "gradients": bytes_held(state.opt_state[1].mu),
        "batch": bytes_held(jax.device_put(batch, sharding.batch_shardings(mesh))),
    }


def test_what_is_kept_for_the_backward_pass_grows_with_rows_and_what_remat_names():
    config = synthetic.config()
    config.model.attention = "blocked"
    rows, slots = config.data.rows_per_pool, config.data.pool_capacity

    def kept(remat, times=1):
        config.model.vit.remat = config.model.decoder.remat = remat
        return inventory.kept(
            vlm.build(config.model), config, times * rows, times * slots
        )

    found = [kept(remat) for remat in ("full", "attention", "projections", "none")]
    assert 0 < found[0] < found[1] < found[2] < found[3]
    assert kept("attention", 2) == pytest.approx(2 * found[1], rel=0.1)


def test_what_a_layer_keeps_is_counted_by_hand():
    """Of projections: input, queries, keys, values, output, gate, up, what is added."""
    config = synthetic.config()
    config.model.attention, decoder = "blocked", config.model.decoder
    decoder.remat = "projections"
    rows, slots = config.data.rows_per_pool, config.data.pool_capacity

    def kept(layers):
        decoder.layers = layers
        return inventory.kept(vlm.build(config.model), config, rows, slots)

    queries, keys = (n * decoder.head_size for n in (decoder.heads, decoder.kv_heads))
    numbers = 2 * decoder.width + 2 * queries + 2 * keys + 2 * decoder.mlp_width
    logs = 4 * decoder.heads  # of each query's sum, in float32
    size = np.dtype(config.model.dtype).itemsize
    expected = rows * config.data.row_tokens * (numbers * size + logs)
    assert kept(5) - kept(4) == expected
