import itertools

import jax
import jax.numpy as jnp
import jaxprs
import model_samples
import numpy as np
import pytest

from mmjax import config, optim, validation
from mmjax.batch import NEWLINE, Batch
from mmjax.models import connectors, layers, vlm
from mmjax.ops import attention, experts, pointwise, quantized, splash

pytestmark = pytest.mark.usefixtures("quick_compilation")


# Row 0: words, then a document with two images; row 1: an image document, then words.
FIRST = [3, 4, 5, 6]
SECOND = [1, "slot 0", 7, "slot 2", 8]
THIRD = [1, "slot 1", 9, 10]
FOURTH = [11, 12]


def packed(groups: int = 1) -> Batch:
    rows = [[FIRST, SECOND], [THIRD, FOURTH]]
    return model_samples.batch(rows, tokens=12, slots=3, groups=groups)


def alone(document: list, tokens: int = 12) -> Batch:
    return model_samples.batch([[document]], tokens=tokens, slots=3)


@pytest.mark.parametrize("backend", ["blocked", "reference"])
def test_a_document_in_a_row_gives_the_logits_it_gives_alone(backend):
    model = model_samples.model(attention=backend)
    params = model_samples.parameters(model)
    together = model_samples.logits(model, params, packed())[0]
    for row, start, document in (0, 0, FIRST), (0, 4, SECOND), (1, 5, FOURTH):
        single = model_samples.logits(model, params, alone(document))[0, 0]
        places = sum(2 if isinstance(item, str) else 1 for item in document)
        np.testing.assert_allclose(
            together[row, start : start + places],
            single[:places],
            rtol=2e-5,
            atol=2e-5,
        )


def test_an_image_reaches_only_its_document_s_later_tokens():
    model = model_samples.model()
    params = model_samples.parameters(model)
    batch = packed()
    before = model_samples.logits(model, params, batch)
    reached = {0: (0, 5, 11), 1: (1, 1, 5), 2: (0, 8, 11)}  # slot: row, from, to
    for slot, (row, start, stop) in reached.items():
        pixels = batch.pixels_ZChwc.copy()
        pixels[0, slot] = 255 - pixels[0, slot]
        after = model_samples.logits(model, params, batch._replace(pixels_ZChwc=pixels))
        changed = np.zeros((2, 12), bool)
        changed[row, start:stop] = True
        np.testing.assert_array_equal((before != after).any(-1)[0], changed)


def test_each_group_reads_its_own_pool():
    model = model_samples.model()
    params = model_samples.parameters(model)
    two = packed(groups=2)
    for group in range(2):
        single = jax.tree.map(lambda x, g=group: x[g : g + 1], two)
        np.testing.assert_allclose(
            model_samples.logits(model, params, two)[group],
            model_samples.logits(model, params, single)[0],
            atol=1e-5,
        )


def test_choices_of_the_config_are_what_exists():
    assert sorted(("auto", *attention.BACKENDS)) == sorted(config.ATTENTIONS)
    assert set(config.VIT_ATTENTIONS) < set(config.ATTENTIONS)
    assert splash.Blocks()._asdict() == vars(config.Splash())
    assert sorted(connectors.CONNECTORS) == sorted(config.CONNECTORS)
    assert sorted(layers.REMATS) == sorted(config.REMATS)
    assert sorted(("none", *quantized.KINDS)) == sorted(config.QUANTIZATIONS)
    assert sorted(pointwise.ACTIVATIONS) == sorted(config.ACTIVATIONS)
    assert sorted(experts.BACKENDS) == sorted(config.MOE_BACKENDS)
    for dtype in config.DTYPES:
        jnp.dtype(dtype)


def test_what_is_kept_is_not_computed_again():
    def flops(remat):
        made = model_samples.model()
        made.vit.remat = made.decoder.remat = remat
        params = model_samples.parameters(made)

        def total(params):
            return jnp.sum(vlm.build(made).apply(params, packed()).hidden_ZRTD)

        return jaxprs.flops(jax.make_jaxpr(jax.grad(total))(params).jaxpr)

    # Projections leave out one product of the MLP, whose inputs they are.
    found = [flops(r) for r in ("none", "projections", "attention", "full")]
    assert found[0] < found[1] < found[2] < found[3]
    assert flops("offload") == flops("projections")


@pytest.mark.parametrize(
    "remat",
    [
        "projections",
        *(pytest.param(r, marks=pytest.mark.slow) for r in ("dots", "full", "offload")),
    ],
)
def test_remat_changes_neither_loss_nor_gradients(remat):
    batch, kept = packed(), model_samples.model()
    made = model_samples.model()
    made.vit.remat = made.decoder.remat = remat
    params = model_samples.parameters(kept)

    def gradients(model):
        def total(params):
            hidden, unembed, _ = vlm.build(model).apply(params, batch)
            return jnp.sum(jnp.sin(hidden)) + jnp.sum(unembed)

        return jax.jit(jax.value_and_grad(total))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        gradients(made),
        gradients(kept),
    )


def test_bfloat16_is_of_activations_only():
    model = model_samples.model(dtype="bfloat16")
    params = model_samples.parameters(model)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    hidden, unembed, _ = jax.eval_shape(vlm.build(model).apply, params, packed())
    assert (hidden.dtype, unembed.dtype) == (jnp.bfloat16, jnp.float32)
    exact = model_samples.logits(model_samples.model(), params, packed())
    near = model_samples.logits(model, params, packed())
    np.testing.assert_allclose(near, exact, atol=0.02 * np.abs(exact).max())


def test_tied_embeddings_are_one_table():
    model = model_samples.model()
    model.decoder.tied_embeddings = True
    params = model_samples.parameters(model)
    assert "unembed" not in params["decoder"]
    unembed = vlm.build(model).apply(params, packed()).unembed_DV
    np.testing.assert_array_equal(unembed, params["decoder"]["embedding"].T)


def test_a_fresh_model_guesses_evenly():
    model = model_samples.model()
    params = jax.jit(vlm.build(model).init)(jax.random.key(0))
    logits = model_samples.logits(model, params, packed())
    entropy = -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1).mean()
    assert np.log(model_samples.VOCAB) - 1 < entropy <= np.log(model_samples.VOCAB)
    assert 0.5 < np.std(logits) < 2


@pytest.mark.parametrize("kind", config.CONNECTORS)
def test_mm1_3b_has_the_size_that_the_config_says(kind):
    model = config.Model()
    tokens = {"linear": 729, "mlp": 729, "pixel_shuffle": 81, "token_concat": 243}
    model.connector = config.Connector(kind=kind, tokens=tokens.get(kind, 144))
    validation.validate(config.Config(model=model))
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    counts = {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in shapes.items()
    }
    assert counts["decoder"] == sum(config.decoder_parameters(model.decoder))
    assert 2.7e9 < counts["decoder"] < 2.9e9
    assert 0.63e9 < counts["vit"] < 0.64e9  # CLIP's ViT-H/14 has 632 M


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [("mlp", 4)]
    + [
        pytest.param(*made, marks=pytest.mark.slow)
        for made in [("average_pool", 4), ("c_abstractor", 4), ("perceiver", 2)]
    ],
)
def test_both_encoders_learn_from_what_the_decoder_says(kind, tokens):
    model = model_samples.model()
    model.connector = config.Connector(kind=kind, tokens=tokens, heads=2)
    sizes = {"width": 12, "heads": 3, "class_token": True, "enabled": True}
    model.second_vit = config.SecondViT(**(vars(model.vit) | sizes))
    validation.validate(config.Config(model=model))

    def total(params):
        hidden = vlm.build(model).apply(params, packed()).hidden_ZRTD
        return jnp.sum(jnp.sin(hidden))

    gradients = jax.jit(jax.grad(total))(model_samples.parameters(model))
    for name in "vit", "second_vit":
        for path, leaf in optim.flatten(gradients[name]).items():
            if not path.endswith("key/bias"):  # of which softmax takes no notice
                assert np.abs(leaf).max() > 1e-7, path


NAMES = """
connector/blocks/attention/key/bias        1 2 8       decoder/norm/scale           16
connector/blocks/attention/key/kernel      1 8 2 8     decoder/unembed              16 16
connector/blocks/attention/out/bias        1 16        vit/blocks/attention/key/bias       2 2 4
connector/blocks/attention/out/kernel      1 2 8 16    vit/blocks/attention/key/kernel     2 8 2 4
connector/blocks/attention/query/bias      1 2 8       vit/blocks/attention/out/bias       2 8
connector/blocks/attention/query/kernel    1 16 2 8    vit/blocks/attention/out/kernel     2 2 4 8
connector/blocks/attention/value/bias      1 2 8       vit/blocks/attention/query/bias     2 2 4
connector/blocks/attention/value/kernel    1 8 2 8     vit/blocks/attention/query/kernel   2 8 2 4
connector/blocks/mlp/down/bias             1 16        vit/blocks/attention/value/bias     2 2 4
connector/blocks/mlp/down/kernel           1 64 16     vit/blocks/attention/value/kernel   2 8 2 4
connector/blocks/mlp/up/bias               1 64        vit/blocks/mlp/down/bias            2 8
connector/blocks/mlp/up/kernel             1 16 64     vit/blocks/mlp/down/kernel          2 16 8
connector/blocks/norm_attention/bias       1 16        vit/blocks/mlp/up/bias              2 16
connector/blocks/norm_attention/scale      1 16        vit/blocks/mlp/up/kernel            2 8 16
connector/blocks/norm_features/bias        1 8         vit/blocks/norm_attention/bias      2 8
connector/blocks/norm_features/scale       1 8         vit/blocks/norm_attention/scale     2 8
connector/blocks/norm_mlp/bias             1 16        vit/blocks/norm_mlp/bias            2 8
connector/blocks/norm_mlp/scale            1 16        vit/blocks/norm_mlp/scale           2 8
connector/queries                          2 16        vit/norm/bias                       8
decoder/blocks/attention/key/kernel        2 16 2 8    vit/norm/scale                      8
decoder/blocks/attention/out/kernel        2 4 8 16    vit/patch_embed/bias                8
decoder/blocks/attention/query/kernel      2 16 4 8    vit/patch_embed/kernel              48 8
decoder/blocks/attention/value/kernel      2 16 2 8    vit/positions                       4 8
decoder/blocks/mlp/down/kernel             2 24 16     decoder/blocks/norm_attention/scale 2 16
decoder/blocks/mlp/gate/kernel             2 16 24     decoder/blocks/norm_mlp/scale       2 16
decoder/blocks/mlp/up/kernel               2 16 24     decoder/embedding                   16 16
"""  # noqa: E501


def test_names_and_shapes_are_those_of_checkpoints():
    model = model_samples.model()
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    found = {
        f"{path} {' '.join(map(str, leaf.shape))}"
        for path, leaf in optim.flatten(shapes).items()
    }
    words = NAMES.split()
    starts = [i for i, word in enumerate(words) if "/" in word] + [len(words)]
    expected = {" ".join(words[a:b]) for a, b in itertools.pairwise(starts)}
    assert found == expected


def test_newlines_are_a_vector_of_the_connector_that_learns():
    made = model_samples.model()
    made.connector = config.Connector(kind="mlp", tokens=4)
    before = jax.eval_shape(vlm.build(made).init, jax.random.key(0))
    made.preprocessing = config.Preprocessing(tiling="anyres", newline=True)
    params = model_samples.parameters(made)
    fresh = optim.flatten(params).keys() - optim.flatten(before).keys()
    assert fresh == {"connector/newline"}
    assert params["connector"]["newline"].shape == (16,)
    batch = packed()
    batch.images_ZRT[0, 0, 6] = NEWLINE

    def total(newline):
        changed = {**params["connector"], "newline": newline}
        hidden = vlm.build(made).apply({**params, "connector": changed}, batch)[0]
        return jnp.sum(jnp.sin(hidden))

    gradient = jax.jit(jax.grad(total))(params["connector"]["newline"])
    assert (np.abs(gradient) > 1e-6).all()


def test_a_config_changed_later_changes_no_model():
    made = model_samples.model()
    model = vlm.build(made)
    made.decoder.width = 32
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert shapes["decoder"]["embedding"].shape == (model_samples.VOCAB, 16)


def test_the_text_beside_an_image_reaches_its_document_s_later_tokens_alone():
    model = model_samples.model()
    model.connector = config.Connector(
        kind="qformer",
        tokens=2,
        qformer=config.QFormer(width=8, layers=2, heads=2, mlp_width=8, text=3),
    )
    params = model_samples.parameters(model)
    texts = np.array([[[3, 4, -1], [5, 6, 7], [-1, -1, -1]]], np.int32)
    batch = packed()._replace(texts_ZCW=texts)
    logits = jax.jit(vlm.build(model).apply)
    before = logits(params, batch).hidden_ZRTD
    for slot, row, start, stop in (0, 0, 5, 11), (1, 1, 1, 5), (2, 0, 8, 11):
        other = texts.copy()
        other[0, slot, 0] = 9
        after = logits(params, batch._replace(texts_ZCW=other)).hidden_ZRTD
        changed = np.zeros((2, 12), bool)
        changed[row, start:stop] = True
        np.testing.assert_array_equal((before != after).any(-1)[0], changed)
