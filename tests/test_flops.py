"""FLOPs: against the published arithmetic of MM1-3B and against the traced step."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import jaxprs
import numpy as np
import pytest

from mmjax import config, flops, optim
from mmjax.batch import Batch
from mmjax.models import vlm

MM1_3B = config.Model(decoder=config.Decoder(vocab_size=65536))


def everything(model):
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    return set(optim.flatten(shapes))


def test_mm1_3b_costs_what_it_is_known_to_cost():
    image = flops.products(MM1_3B, flops.Work(1, 0, 0))
    encoder = sum(p.forward for p in image if p.component == "encoder")
    assert encoder == pytest.approx(1005.5e9, rel=2e-4)
    row = flops.step(MM1_3B, flops.work(0, [4096]), everything(MM1_3B))
    assert sum(row.values()) == pytest.approx(74.7e12, rel=1e-3)
    trained = flops.step(MM1_3B, flops.Work(16, 0, 0), everything(MM1_3B))
    assert trained["encoder"] == pytest.approx(48.3e12, rel=2e-3)


@pytest.mark.parametrize(
    ("frozen", "told"),
    [
        ((), ["trained", "trained", "trained", "", "trained"]),
        (("vit/",), ["frozen", "trained", "trained", "", "trained"]),
        (
            ("vit/", "decoder/blocks/mlp/"),
            ["frozen", "trained", "partly frozen", "", "trained"],
        ),
        (("vit/", "connector/", "decoder/"), ["frozen"] * 3 + ["", "frozen"]),
    ],
    ids=lambda value: "-".join(value) or "none",
)
def test_a_component_tells_what_its_parameters_do_and_what_each_pass_costs(
    frozen, told
):
    work = flops.work(16, [4096])
    trained = {path for path in everything(MM1_3B) if not path.startswith(frozen)}
    costs = flops.costs(MM1_3B, work, trained)
    there = [cost for cost in costs.values() if cost.forward]
    assert [cost.trains for cost in there] == told
    sums = {name: cost.forward + cost.backward for name, cost in costs.items()}
    assert sums == flops.step(MM1_3B, work, trained)
    assert (costs["encoder"].backward == 0) == ("vit/" in frozen)
    if not trained:
        assert not any(cost.backward for cost in there)


def tiny(kind="perceiver", **kwargs):
    return config.Model(
        vit=config.ViT(
            image_size=16, patch_size=4, width=12, layers=3, heads=2, mlp_width=20,
            remat="none",
        ),
        connector=config.Connector(
            kind=kind, tokens=16 if kind in ("linear", "mlp") else 4, depth=2, heads=2,
            remat="none",
            c_abstractor=config.CAbstractor(width=8, depth=2),
            qformer=config.QFormer(width=8, layers=4, heads=2, mlp_width=20),
        ),
        decoder=config.Decoder(
            vocab_size=40, width=16, layers=2, heads=4, kv_heads=2, head_size=6,
            mlp_width=28, remat="none", **kwargs,
        ),
        dtype="float32", attention="reference",
    )  # fmt: skip


def traced(model, frozen=(), rows=2):
    """FLOPs of the matrix products of one step, counted in its jaxpr."""
    built, tokens, slots = vlm.build(model), 24, 3
    row = np.zeros((1, rows, tokens), np.int32)
    side = model.vit.image_size
    batch = Batch(
        row, row, row > 0, row + 1, row, row - 1, row[..., 0],
        np.zeros((1, slots, side, side, 3), np.uint8), np.ones((1, slots), bool),
        np.zeros((1, slots, 0), np.int32),
    )  # fmt: skip
    params = jax.eval_shape(built.init, jax.random.key(0))
    paths = optim.flatten(params)
    still = {path for path in paths if path.startswith(tuple(frozen))}

    def loss(trainable, fixed):
        outputs = built.apply(optim.unflatten(trainable | fixed), batch)
        return jnp.square(outputs.hidden_ZRTD @ outputs.unembed_DV).sum()

    trainable = {path: leaf for path, leaf in paths.items() if path not in still}
    fixed = {path: paths[path] for path in still}
    step = jax.make_jaxpr(jax.value_and_grad(loss))(trainable, fixed)
    # The unmasked reference multiplies all pairs of a row.
    pairs, sights = [rows * tokens * tokens] * 2, rows * tokens * slots
    done = flops.Work(slots, rows * tokens, *pairs, sights)
    return jaxprs.flops(step.jaxpr), flops.step(model, done, set(trainable))


@pytest.mark.parametrize("frozen", [(), ("decoder/blocks/layer1/moe/up", "vit/")])
def test_of_experts_those_count_that_a_token_goes_to(frozen):
    model = tiny(moe=config.Moe(experts=5))
    model.decoder.layers = 5
    seen, counted = traced(model, frozen)
    assert sum(counted.values()) == seen


@pytest.mark.parametrize(
    ("kind", "tied"), [("mlp", True), *((kind, False) for kind in config.CONNECTORS)]
)
def test_a_trained_step_counts_exactly_its_matrix_products(kind, tied):
    seen, counted = traced(tiny(kind, tied_embeddings=tied))
    assert sum(counted.values()) == seen


def test_options_of_the_decoder_add_no_matrix_products():
    options = {"qkv_bias": True, "qk_norm": True, "post_norms": True}
    seen, counted = traced(tiny(window=4, global_every=2, **options))
    assert sum(counted.values()) == seen


@pytest.mark.parametrize(
    "frozen",
    [
        (),
        ("vit/", "connector/"),
        ("vit/", "connector/", "decoder/embedding", "decoder/blocks/layer0"),
        tuple(f"decoder/blocks/layer1/cross/{name}" for name in ("norm_images", "mlp")),
    ],
)
def test_blocks_that_look_at_images_count_exactly_their_matrix_products(frozen):
    cross = config.CrossAttention(every=2)
    model = tiny(cross_attention=cross, moe=config.Moe(experts=5, every=4))
    model.decoder.layers = 5
    seen, counted = traced(model, frozen, rows=1)
    assert sum(counted.values()) == seen


ENCODERS = {
    "dinov2": {
        "class_token": True, "registers": 3, "layer_scale": 1.0, "gated": True,
        "features": -2,
    },
    "aim": {
        "embedding_norm": "patches", "positions": "fixed", "attention_bias": False,
    },
    "clip": {"class_token": True, "embedding_norm": "tokens", "patch_bias": False},
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("frozen", [(), ("vit/patch_embed", "vit/norm_embedding")])
def test_every_kind_of_encoder_counts_exactly_its_matrix_products(name, frozen):
    model = tiny()
    model.vit = dataclasses.replace(model.vit, **ENCODERS[name])
    seen, counted = traced(model, frozen)
    assert sum(counted.values()) == seen


@pytest.mark.parametrize("frozen", [(), ("vit/",), ("vit/", "second_vit/")])
def test_a_second_encoder_counts_as_the_first_does(frozen):
    model = tiny()
    fields = vars(model.vit) | {"width": 20, "class_token": True, "enabled": True}
    model.second_vit = config.SecondViT(**fields)
    seen, counted = traced(model, frozen)
    assert sum(counted.values()) == seen


@pytest.mark.parametrize(
    "frozen",
    [
        ("vit/",),
        ("vit/", "decoder/"),
        ("decoder/",),
        ("vit/", "connector/"),
        ("vit/", "connector/", "decoder/blocks", "decoder/embedding"),
        ("vit/patch_embed/kernel", "decoder/blocks/mlp"),
    ],
)
def test_frozen_parts_cost_only_the_gradients_that_pass_them(frozen):
    seen, counted = traced(tiny(), frozen)
    assert sum(counted.values()) == seen


def test_attention_counts_pairs_inside_documents():
    one, two = flops.work(0, [8]), flops.work(0, [4, 4])
    assert one.positions == two.positions
    assert one.pairs == sum(1 for query in range(8) for key in range(8) if key <= query)
    assert two.pairs == 20


@pytest.mark.parametrize("window", [1, 3, 8, 20])
def test_a_window_counts_the_pairs_inside_it(window):
    work = flops.work(0, [8, 2], window)
    seen = [q - k < window for n in (8, 2) for q in range(n) for k in range(q + 1)]
    assert work.local_pairs == sum(seen)
    assert work.pairs == len(seen)


def test_only_local_layers_attend_to_less():
    lengths, window = [32, 5], 4
    whole = flops.step(tiny(), flops.work(0, lengths), everything(tiny()))
    done = flops.work(0, lengths, window)
    share = done.local_pairs / done.pairs
    for every, local in (0, 2), (2, 1):  # local ones of the two layers
        model = tiny(window=window, global_every=every)
        found = flops.step(model, done, everything(model))
        expected = dict(whole)
        expected["attention"] *= (local * share + 2 - local) / 2
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "tera"),
    [("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5p", 459), ("TPU v5", 459),
     ("TPU v6 lite", 918), ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H200", 989),
     ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA H100 PCIe", 756)],
)  # fmt: skip
def test_the_peak_is_known_by_device_kind(kind, tera):
    assert flops.peak(kind) == tera * 1e12


def test_no_share_of_an_unknown_peak():
    achieved, share = flops.rate(1e12, 2.0, 8, "cpu")
    assert achieved == 5e11
    assert math.isnan(share)
    assert flops.rate(275e12, 2.0, 1, "TPU v4")[1] == 0.5


def of_objective(kind: str) -> config.Model:
    model = tiny(tied_embeddings=True)
    model.objective = config.Objective(
        kind, config.Contrast(width=10), config.Aim(2, 14, 22)
    )
    return model


@pytest.mark.parametrize("frozen", [(), ("vit/",), ("decoder/",)])
def test_two_towers_count_exactly_their_matrix_products(frozen):
    """Rows without images: their pairs are none, but the work is the same."""
    model = of_objective("contrastive")
    built, rows, tokens, slots = vlm.build(model), 2, 24, 3
    row = np.zeros((1, rows, tokens), np.int32)
    batch = Batch(
        row, row, row > 0, row + 1, row, row - 1, row,
        np.zeros((1, slots, 16, 16, 3), np.uint8), np.ones((1, slots), bool),
        np.zeros((1, slots, 0), np.int32),
    )  # fmt: skip
    paths = optim.flatten(jax.eval_shape(built.init, jax.random.key(0)))
    fixed = {p: leaf for p, leaf in paths.items() if p.startswith(frozen)}
    trainable = {p: leaf for p, leaf in paths.items() if p not in fixed}

    def loss(trainable, fixed):
        made = built.apply(optim.unflatten(trainable | fixed), batch)
        images, texts = (x.reshape(slots, -1) for x in made[:2])
        return jnp.square(made.scale * images @ texts.T).sum()

    step = jax.make_jaxpr(jax.value_and_grad(loss))(trainable, fixed)
    # Positions of images are no work of a text tower.
    positions = rows * tokens + slots * model.connector.tokens
    done = flops.Work(slots, positions, rows * tokens * tokens)
    counted = flops.step(model, done, set(trainable))
    assert sum(counted.values()) == jaxprs.flops(step.jaxpr)


def test_aim_counts_what_patches_see_and_predict_on_average():
    model = of_objective("aim")
    whole, built = flops.Work(3, 0, 0), vlm.build(model)
    batch = Batch(
        *[np.zeros((1, 1, 2), np.int32)] * 7,
        np.zeros((1, 3, 16, 16, 3), np.uint8), np.ones((1, 3), bool),
        np.zeros((1, 3, 0), np.int32),
    )  # fmt: skip
    params = jax.eval_shape(built.init, jax.random.key(0))
    forward = jax.make_jaxpr(lambda p: built.apply(p, batch).pixels_ZCPp)(params)
    products = flops.products(model, whole)
    # The program multiplies all pairs of patches, and has the head on 15 of 16.
    seen = np.mean([
        sum(key <= query or key < prefix for query in range(16) for key in range(16))
        for prefix in range(1, 16)
    ])  # fmt: skip
    share = {"heads": 8 / 15, "encoder": 1.0}
    made = sum(
        p.forward / (share[p.component] if p.kernel else seen / 256) for p in products
    )
    assert made == pytest.approx(jaxprs.flops(forward.jaxpr))
    assert {p.kernel for p in products} - {""} <= everything(model)
