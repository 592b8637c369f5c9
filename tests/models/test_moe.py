"""Layers with experts: in a model, in packed rows, and spread over a mesh."""

import functools
import importlib

import jax
import jax.numpy as jnp
import jaxprs
import model_samples
import numpy as np
import pytest
import synthetic
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mmjax import config as config_lib
from mmjax import sharding, step
from mmjax.models import layers, moe, vlm

PATHS = {
    "ragged_dot": {"backend": "ragged_dot"},
    "blocked": {"backend": "blocked"},
    "capacity": {"capacity_factor": 1.0},
}


pytestmark = pytest.mark.usefixtures("quick_compilation")


def sparse(**fields):
    """The small model with 3 layers, the second of which has 4 experts."""
    model = model_samples.model()
    model.decoder.layers = 3
    model.decoder.moe = config_lib.Moe(experts=4, **fields)
    return model


FIRST, SECOND = [3, 4, 5, 6], [1, "slot 0", 7, "slot 2", 8]


@pytest.mark.parametrize(
    "backend", ["ragged_dot", pytest.param("blocked", marks=pytest.mark.slow)]
)
def test_a_document_in_a_row_gives_the_logits_it_gives_alone(backend):
    model = sparse(backend=backend)
    params = model_samples.parameters(model)
    batch = functools.partial(model_samples.batch, tokens=12, slots=3)
    together = model_samples.logits(model, params, batch([[FIRST, SECOND]]))[0, 0]
    for start, document in (0, FIRST), (4, SECOND):
        single = model_samples.logits(model, params, batch([[document]]))[0, 0]
        places = sum(2 if isinstance(item, str) else 1 for item in document)
        np.testing.assert_allclose(
            together[start : start + places], single[:places], rtol=2e-5, atol=2e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_padding_changes_nothing_and_is_not_counted(path):
    model = sparse(**PATHS[path])
    params = model_samples.parameters(model)
    batch = model_samples.batch([[FIRST, [7, 8]]], tokens=12, slots=3)
    other = batch.tokens_ZRT.copy()
    other[batch.segments_ZRT == 0] = 15
    apply = jax.jit(vlm.build(model).apply)
    before = apply(params, batch)
    after = apply(params, batch._replace(tokens_ZRT=other))
    np.testing.assert_array_equal(
        before.hidden_ZRTD[0, 0, :6], after.hidden_ZRTD[0, 0, :6]
    )
    jax.tree.map(np.testing.assert_array_equal, before.router, after.router)
    np.testing.assert_array_equal(before.router.load_LX.sum(1), [6 * 2])


@pytest.mark.slow
def test_sparse_layers_stand_last_in_their_group_and_come_out_in_order():
    model = sparse(every=2)
    model.decoder.layers = 5
    params = model_samples.parameters(model)
    assert "mlp" in params["decoder"]["blocks"]["layer0"]
    assert "moe" in params["decoder"]["blocks"]["layer1"]
    assert "mlp" in params["decoder"]["rest"]["layer0"]
    router = params["decoder"]["blocks"]["layer1"]["moe"]["router"]
    batch = model_samples.batch([[FIRST]], tokens=12, slots=3)
    router["kernel"] = jnp.zeros_like(router["kernel"])
    ties = jax.jit(vlm.build(model).apply)(params, batch).router
    np.testing.assert_array_equal(ties.load_LX, [[4, 4, 0, 0]] * 2)
    np.testing.assert_allclose(ties.z_L, 4 * np.log(4) ** 2, rtol=1e-6)
    spread = np.random.default_rng(0).normal(size=router["kernel"].shape[1:])
    router["kernel"] = router["kernel"].at[1].set(spread)
    upper = jax.jit(vlm.build(model).apply)(params, batch).router
    np.testing.assert_array_equal(upper.load_LX[0], [4, 4, 0, 0])
    assert upper.z_L[0] == ties.z_L[0]
    assert abs(upper.z_L[1] - ties.z_L[1]) > 0.1


@pytest.mark.parametrize("name", ["mm1_3b_moe", "mm1_7b_moe"])
def test_mm1_s_have_the_sizes_that_their_configs_say(name):
    model = importlib.import_module(f"configs.{name}").get_config().model
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    decoder = sum(leaf.size for leaf in jax.tree.leaves(shapes["decoder"]))
    assert decoder == sum(config_lib.decoder_parameters(model.decoder))


def layer(path):
    """One layer of experts."""
    model = sparse(**PATHS[path])
    return moe.Experts(model.decoder, "float32", 1.0)


def tokens():
    """Rows of 8 pool groups with padding here and there, and their segments."""
    x = jax.random.normal(jax.random.key(1), (8, 2, 8, 16))
    real = jax.random.bernoulli(jax.random.key(2), 0.8, (8, 2, 8))
    return x, real.astype(jnp.int32)


def on_mesh(path, shape):
    """The layer's gradients as a compiled function, and arguments laid out for it."""
    mesh, module, arguments = synthetic.mesh(shape), layer(path), tokens()
    params = jax.jit(module.init)(jax.random.key(0), *arguments)["params"]

    def total(params, x, segments_ZRT):
        y, sums = module.apply({"params": params}, x, segments_ZRT)
        loss = jnp.sum(jnp.sin(y)) + sums.balance_L + sums.z_L
        return loss, (y, sums)

    def gradients(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.grad(total, argnums=(0, 1), has_aux=True)(*arguments)

    named = {"decoder": {"blocks": {"moe": jax.tree.map(lambda x: x[None], params)}}}
    specs = sharding.param_specs(named, mesh)["decoder"]["blocks"]["moe"]
    placed = jax.tree.map(lambda spec: NamedSharding(mesh, P(*spec[1:])), specs)
    rows = NamedSharding(mesh, sharding.ROWS)
    arguments = jax.device_put((params, *arguments), (placed, rows, rows))
    out_shardings = ((placed, rows), None)
    return jax.jit(gradients, out_shardings=out_shardings), arguments


@functools.cache
def on_one_device(path):
    gradients, arguments = on_mesh(path, (1, 1, 1, 1))
    return jax.device_get(gradients(*arguments))


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("ragged_dot", (2, 1, 1, 4)),
        pytest.param("blocked", (1, 2, 2, 2), marks=pytest.mark.slow),
        ("capacity", (1, 2, 2, 2)),
        pytest.param("capacity", (2, 1, 1, 4), marks=pytest.mark.slow),
        pytest.param("ragged_dot", (2, 2, 2, 1), marks=pytest.mark.slow),
        pytest.param("capacity", (2, 2, 2, 1), marks=pytest.mark.slow),
    ],
)
def test_a_mesh_gives_values_and_gradients_of_one_device(path, shape):
    gradients, arguments = on_mesh(path, shape)
    eight = jax.device_get(gradients(*arguments))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5),
        on_one_device(path),
        eight,
    )
    _, (_, sums) = eight
    assert (sums.dropped_L > 0) == (path == "capacity")


@pytest.mark.parametrize("path", ["ragged_dot", "capacity"])
def test_what_is_kept_of_experts_is_neither_sent_nor_computed_again(path):
    mesh, module, (x, segments) = synthetic.mesh((1, 2, 1, 4)), layer(path), tokens()
    params = jax.eval_shape(module.init, jax.random.key(0), x, segments)

    def work(remat):
        def total(params):
            return jnp.sum(jnp.sin(module.apply(params, x, segments)[0]))

        if remat != "none":
            total = jax.checkpoint(total, policy=layers.REMATS[remat])
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            jaxpr = jax.make_jaxpr(jax.grad(total))(params).jaxpr
        return jaxprs.flops(jaxpr), jaxprs.count(jaxpr, "all_to_all")

    none, kept, again = (work(r) for r in ("none", "projections", "full"))
    # Without a capacity what comes back is a sum already: its parts are made again.
    router = 2 * x.size * sparse().decoder.moe.experts
    most = {"capacity": 0, "ragged_dot": 0.4}[path]
    assert kept[0] - none[0] - router <= most * (again[0] - none[0])
    if path == "capacity":
        assert (kept[1], again[1]) == (3, 5)  # one back: of x no gradient is asked


@pytest.mark.slow
@pytest.mark.parametrize("path", ["ragged_dot", "capacity"])
def test_no_device_gathers_the_experts_of_others(path):
    shape = (1, 2, 1, 4)
    gradients, arguments = on_mesh(path, shape)
    text = gradients.lower(*arguments).compile().as_text()
    found = synthetic.collectives(text)
    assert found
    hidden = sparse().decoder.mlp_width
    kernels = [dims for _, dims, _ in found if str(hidden) in dims.split(",")]
    assert kernels  # the slices over fsdp of a device's own experts
    assert {dims.split(",")[0] for dims in kernels} == {"1"}  # of 4
    kinds = {kind for kind, _, _ in found}
    assert ("all-to-all" in kinds) == (path == "capacity")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["ragged_dot", "capacity"])
def test_a_mesh_takes_the_train_steps_of_one_device(path):
    def curve(shape, accumulate=1):
        config = synthetic.config(accumulate=accumulate)
        config.model.decoder.moe = config_lib.Moe(
            experts=4, balance_loss=0.5, z_loss=0.1, **PATHS[path]
        )
        mesh, model = synthetic.mesh(shape), vlm.build(config.model)
        state = step.init_state(model, config, mesh, jax.random.key(0))
        train_step, history = step.make_train_step(model, config, mesh), []
        for seed in range(3):
            batch = jax.device_put(
                synthetic.batch(config, seed), sharding.batch_shardings(mesh)
            )
            state, metrics = train_step(state, batch)
            history.append(jax.device_get(metrics))
        return history

    one = curve((1, 1, 1, 1))
    for other in curve((1, 2, 2, 2)), curve((1, 1, 1, 1), accumulate=2):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5),
            one,
            other,
        )
