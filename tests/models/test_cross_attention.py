"""Gated cross-attention: what each token gets of images, and what it doesn't."""

import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest
import synthetic
from short_form import slow_unless

from mmjax import config, optim, sharding, step, validation
from mmjax.batch import NO_IMAGE
from mmjax.models import cross_attention, decoder, vlm

pytestmark = pytest.mark.usefixtures("quick_compilation")


# Row 0: words, then a document with two images; row 1: an image document, then words.
FIRST = [3, 4, 5, 6]
SECOND = [1, "slot 0", 7, "slot 2", 8]
THIRD = [1, "slot 1", 9, 10]
FOURTH = [11, 12]
PLACES = (0, 0, FIRST), (0, 4, SECOND), (1, 0, THIRD), (1, 4, FOURTH)


def batch(rows):
    return model_samples.batch(rows, tokens=10, slots=3, positions_of_image=1)


def packed():
    return batch([[FIRST, SECOND], [THIRD, FOURTH]])


def model(every=2, images="last", **fields) -> config.Model:
    made = model_samples.model(**fields)
    cross = config.CrossAttention(every=every, images=images)
    made.decoder.cross_attention = cross
    return made


def without(made: config.Model, params):
    """The model and its parameters without images."""
    plain = model_samples.model()
    plain.decoder.layers = made.decoder.layers
    leaves = optim.flatten(params)
    return plain, optim.unflatten(
        {p: x for p, x in leaves.items() if "/cross/" not in p}
    )


@pytest.mark.slow
def test_a_fresh_model_says_what_its_decoder_says_without_images():
    made = model(every=1)
    params = model_samples.parameters(made)
    leaves = optim.flatten(params)
    shut = {
        p: jnp.zeros_like(x) if p.endswith("_gate") else x for p, x in leaves.items()
    }
    fresh = optim.flatten(vlm.build(made).init(jax.random.key(0)))
    assert all(np.all(fresh[p] == 0) for p in leaves if p.endswith("_gate"))
    plain, rest = without(made, params)
    blind = packed()._replace(images_ZRT=np.full((1, 2, 10), NO_IMAGE, np.int32))
    expected = model_samples.logits(plain, rest, blind)
    found = model_samples.logits(made, optim.unflatten(shut), packed())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    opened = model_samples.logits(made, params, packed())
    assert np.abs(opened - expected).max() > 1e-2


@pytest.mark.parametrize("images", slow_unless(config.SEEN_IMAGES, ["all_before"]))
def test_a_document_in_a_row_gives_the_logits_it_gives_alone(images):
    made = model(images=images)
    params = model_samples.parameters(made)
    together = model_samples.logits(made, params, packed())[0]
    for row, start, document in PLACES:
        alone = model_samples.logits(made, params, batch([[document]]))[0, 0]
        stop = start + len(document)
        np.testing.assert_allclose(
            together[row, start:stop], alone[: len(document)], rtol=2e-5, atol=2e-5
        )


def layer(made: config.Model):
    """One block alone, its parameters, and the rows that go in."""
    block = cross_attention.CrossAttention(made, decoder.make_norm(made.decoder))
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(1, 2, 10, 16)), jnp.float32)
    pool = jnp.asarray(rng.normal(size=(1, 3, 2, 16)), jnp.float32)
    seen = cross_attention.look(made, pool, packed())
    shapes = jax.eval_shape(block.init, jax.random.key(0), x, seen)["params"]
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype), shapes
    )
    return block, params, x, pool


# The slots that each position of the rows sees.
LAST = [[]] * 5 + [[0], [0], [2], [2], []], [[]] + [[1]] * 3 + [[]] * 6
ALL = [[]] * 5 + [[0], [0], [0, 2], [0, 2], []], LAST[1]
SEEN = {"last": LAST, "all_before": ALL}


@pytest.mark.parametrize("images", SEEN)
def test_a_block_is_flamingo_s_written_out(images):
    made = model(images=images)
    block, params, x, pool = layer(made)
    seen = cross_attention.look(made, pool, packed())
    found, _ = block.apply({"params": params}, x, seen)
    p = {
        path: np.asarray(leaf, np.float64)
        for path, leaf in optim.flatten(params).items()
    }

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p[f"{name}/scale"]

    for row, t in np.ndindex(2, 10):
        here = np.asarray(x[0, row, t], np.float64)
        tokens = [
            np.asarray(pool[0, slot], np.float64) for slot in SEEN[images][row][t]
        ]
        if tokens:
            source = norm(np.concatenate(tokens), "norm_images")
            q = np.einsum(
                "d,dnh->nh", norm(here, "norm_attention"), p["attention/query/kernel"]
            )
            k, v = (
                np.einsum("sd,dkh->skh", source, p[f"attention/{name}/kernel"])
                for name in ("key", "value")
            )
            out = np.zeros(16)
            for head in range(4):
                score = np.exp(k[:, head // 2] @ q[head] / np.sqrt(8))
                mixed = score / score.sum() @ v[:, head // 2]
                out += mixed @ p["attention/out/kernel"][head]
            here = here + np.tanh(p["attention_gate"]) * out
        normed = norm(here, "norm_mlp")
        up, gate = normed @ p["mlp/up/kernel"], normed @ p["mlp/gate/kernel"]
        hidden = gate / (1 + np.exp(-gate)) * up
        here = here + np.tanh(p["mlp_gate"]) * (hidden @ p["mlp/down/kernel"])
        np.testing.assert_allclose(found[0, row, t], here, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("images", slow_unless(SEEN, ["last"]))
def test_gradients_reach_the_images_that_a_token_sees_and_are_finite(images):
    made = model(images=images)
    block, params, x, pool = layer(made)

    def each(pool):
        seen = cross_attention.look(made, pool, packed())
        return jnp.sin(block.apply({"params": params}, x, seen)[0]).sum(-1)[0]

    reach = np.abs(jax.jacrev(each)(pool)).sum((2, 4, 5))  # [R, T, C]
    assert np.isfinite(reach).all()
    for row, t, slot in np.ndindex(2, 10, 3):
        assert (reach[row, t, slot] > 0) == (slot in SEEN[images][row][t])


def test_rows_laid_out_for_fewer_images_say_the_same_where_they_suffice():
    made = model()
    params = model_samples.parameters(made)
    expected = model_samples.logits(made, params, packed())
    made.decoder.cross_attention.row_images = 2
    found = model_samples.logits(made, params, packed())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


GROUPED = {
    "rest": {"every": 2, "layers": 3},
    "experts": {"every": 2, "layers": 4, "moe": config.Moe(experts=3, every=4)},
    "windows": {
        "every": 3,
        "layers": 3,
        "window": 3,
        "global_every": 2,
        "qk_norm": True,
    },
}


def grouped(name: str) -> config.Model:
    options = dict(GROUPED[name])
    made = model(every=options.pop("every"))
    for field, value in options.items():
        setattr(made.decoder, field, value)
    return made


@pytest.mark.parametrize("name", GROUPED)
def test_the_blocks_stand_where_the_config_says_and_are_counted(name):
    made = grouped(name)
    validation.validate(config.Config(model=made, data=config.Data(row_tokens=16)))
    shapes = jax.eval_shape(vlm.build(made).init, jax.random.key(0))["decoder"]
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == sum(config.decoder_parameters(made.decoder))
    every, layers = made.decoder.cross_attention.every, made.decoder.layers
    crossed = {
        layer
        for stack in config.layer_stacks(made.decoder)
        if any(p.startswith(f"{stack.folder}/cross/") for p in optim.flatten(shapes))
        for layer in stack.layers
    }
    assert crossed == set(range(every - 1, layers, every))
    assert config.crossed_layers(made.decoder) == len(crossed)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["dots", "full"])
@pytest.mark.parametrize("name", GROUPED)
def test_remat_changes_neither_loss_nor_gradients(name, remat):
    kept, made = grouped(name), grouped(name)
    made.vit.remat = made.decoder.remat = remat
    params = model_samples.parameters(kept)

    def gradients(model):
        def total(params):
            return jnp.sum(
                jnp.sin(vlm.build(model).apply(params, packed()).hidden_ZRTD)
            )

        return jax.jit(jax.value_and_grad(total))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        gradients(made),
        gradients(kept),
    )


def run(**decoder_fields) -> config.Config:
    made = synthetic.config()
    made.model.decoder.cross_attention = config.CrossAttention(every=2, row_images=4)
    for field, value in decoder_fields.items():
        setattr(made.model.decoder, field, value)
    return made


def test_every_parameter_learns_and_gates_are_not_decayed():
    made = model(every=1)
    params = model_samples.parameters(made)

    def total(params):
        return jnp.sum(jnp.sin(vlm.build(made).apply(params, packed()).hidden_ZRTD))

    for path, leaf in optim.flatten(jax.jit(jax.grad(total))(params)).items():
        still = path.endswith("key/bias") or path == "decoder/unembed"
        assert still or np.abs(leaf).max() > 1e-7, path
        assert not (path.endswith("_gate") and optim.decays(path))


@pytest.mark.slow
def test_eight_devices_give_the_losses_and_updates_of_one():
    made = run()
    built, found = vlm.build(made.model), []
    for shape in synthetic.ONE, synthetic.EIGHT:
        mesh = synthetic.mesh(shape)
        params = model_samples.parameters(made.model)
        state = step.init_state(built, made, mesh, jax.random.key(0))
        placed = jax.device_put(params, sharding.state_shardings(params, mesh))
        state = state._replace(params=placed)
        train_step = step.make_train_step(built, made, mesh)
        rows = jax.device_put(
            synthetic.batch(made, seed=0), sharding.batch_shardings(mesh)
        )
        state, metrics = train_step(state, rows)
        found.append(jax.device_get((metrics["grad_norm"], state.params)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *found
    )
