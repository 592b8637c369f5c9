"""The Q-Former, above all against transformers' BLIP-2."""

import connector_samples as samples
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config, optim

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_the_qformer_doesn_t_see_the_order_of_patches():
    made = samples.model("qformer")
    params = samples.noise(made)
    out = samples.connect(made, params)
    reordered = samples.connect(made, params, samples.FEATURES[:, :, ::-1])
    np.testing.assert_allclose(out, reordered, atol=1e-5)


def test_only_the_first_layer_of_each_group_reads_patches():
    blocks = samples.fresh(samples.model("qformer"))["blocks"]
    assert {name: "cross" in layer for name, layer in blocks.items()} == {
        "layer_0": True,
        "layer_1": False,
    }
    assert blocks["layer_0"]["cross"]["key"]["kernel"].shape == (2, 8, 2, 6)


def test_queries_hear_of_each_other():
    made = samples.model("qformer")
    params = samples.noise(made)
    before = samples.connect(made, params)
    params["queries"] = params["queries"].at[0, 0].add(1)
    assert (before != samples.connect(made, params)).any(-1).all()


def test_the_default_sizes_are_blip_2_s():
    """Counted by hand; features of EVA-ViT-g, the text's own MLPs left out."""
    model = config.Model()
    model.connector = config.Connector(kind="qformer", tokens=32)
    features = jax.ShapeDtypeStruct((1, 1, 256, 1408), jnp.bfloat16)
    module = samples.module(model)
    shapes = jax.eval_shape(module.init, jax.random.key(0), features)["params"]
    square, mlp, norm = 768 * 768 + 768, 2 * 768 * 3072 + 3072 + 768, 2 * 768
    cross = 2 * square + 2 * (1408 * 768 + 768) + norm
    layer = 4 * square + norm + mlp + norm
    expected = 32 * 768 + norm + 12 * layer + 6 * cross + 768 * 2560 + 2560
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


WORDS = np.array(
    [[[3, 7, 5, -1], [-1, -1, -1, -1], [2, -1, -1, -1]], [[9, 9, 1, 4]] * 3], np.int32
)


def instructed(**fields) -> config.Model:
    """The small model whose queries hear of up to four words beside an image."""
    made = samples.model("qformer", **fields)
    made.connector.qformer.text = WORDS.shape[-1]
    return made


def noise(made: config.Model):
    """Parameters in which nothing is zero or one by chance."""
    shapes = jax.eval_shape(
        samples.module(made).init, jax.random.key(0), samples.FEATURES, WORDS
    )["params"]
    rng = np.random.default_rng(1)
    leaves = {
        path: jnp.asarray(path.endswith("scale") + 0.3 * rng.normal(size=leaf.shape))
        for path, leaf in optim.flatten(shapes).items()
    }
    return optim.unflatten(leaves)


def hear(made: config.Model, params, words=WORDS):
    apply = jax.jit(samples.module(made).apply)
    return np.asarray(apply({"params": params}, samples.FEATURES, words))


def test_an_image_hears_of_its_own_words_and_of_nobody_else_s():
    made = instructed()
    params = {"params": noise(made)}
    apply = jax.jit(samples.module(made).apply)
    before = apply(params, samples.FEATURES, WORDS)
    for place in np.argwhere(WORDS >= 0):
        words = WORDS.copy()
        words[tuple(place)] += 1
        changed = (before != apply(params, samples.FEATURES, words)).any((2, 3))
        assert np.argwhere(changed).tolist() == [place[:2].tolist()]


def test_an_image_without_words_has_the_tokens_of_blip_2():
    made, plain = instructed(), samples.model("qformer")
    params = noise(made)
    held = optim.flatten(samples.fresh(plain))
    leaves = optim.flatten(params)
    rest = optim.unflatten({path: leaves[path] for path in held})
    silent = hear(made, params, np.full_like(WORDS, -1))
    np.testing.assert_allclose(silent, samples.connect(plain, rest), atol=1e-5)
    assert np.abs(hear(made, params) - silent)[WORDS[..., 0] >= 0].max() > 1e-2


def test_room_for_more_words_changes_nothing():
    made = instructed()
    params = noise(made)
    expected = hear(made, params)
    made.connector.qformer.text += 2
    table = params["words"]["positions"]
    params["words"]["positions"] = jnp.pad(table, ((0, 2), (0, 0)), constant_values=9.0)
    words = np.pad(WORDS, ((0, 0), (0, 0), (0, 2)), constant_values=-1)
    np.testing.assert_allclose(hear(made, params, words), expected, atol=1e-5)


NAMES = {
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/out": "attention.output.dense",
    "norm_attention": "attention.output.LayerNorm",
    "cross/query": "crossattention.attention.query",
    "cross/key": "crossattention.attention.key",
    "cross/value": "crossattention.attention.value",
    "cross/out": "crossattention.output.dense",
    "norm_cross": "crossattention.output.LayerNorm",
    "mlp/up": "intermediate_query.dense",
    "mlp/down": "output_query.dense",
    "norm_mlp": "output_query.LayerNorm",
    "mlp_words/up": "intermediate.dense",
    "mlp_words/down": "output.dense",
    "norm_mlp_words": "output.LayerNorm",
}


def to_torch(params, every: int) -> dict[str, np.ndarray]:
    """The parameters of Blip2QFormerModel or of InstructBLIP's, by name, of ours."""
    found = {}
    for path, leaf in optim.flatten(params["blocks"]).items():
        place, *inner, name = path.split("/")
        theirs = NAMES["/".join(inner)]
        for group, values in enumerate(np.asarray(leaf)):
            layer = group * every + int(place.removeprefix("layer_"))
            if name == "kernel":
                inputs = values.shape[:2] if inner[-1] == "out" else values.shape[:1]
                values = values.reshape(np.prod(inputs), -1).T
            what = "bias" if name == "bias" else "weight"
            found[f"encoder.layer.{layer}.{theirs}.{what}"] = (
                values.reshape(-1) if name != "kernel" else values
            )
    root = "embeddings." if "words" in params else ""
    found[f"{root}layernorm.weight"] = np.asarray(params["norm"]["scale"])
    found[f"{root}layernorm.bias"] = np.asarray(params["norm"]["bias"])
    if "words" in params:
        words, positions = (params["words"][n] for n in ("embedding", "positions"))
        found[f"{root}word_embeddings.weight"] = np.asarray(words)
        found[f"{root}position_embeddings.weight"] = np.asarray(positions)
    return found


@pytest.mark.extra
@pytest.mark.parametrize(("count", "every"), [(4, 2), (3, 1), (3, 3)])
def test_tokens_and_gradients_are_those_of_transformers_blip_2(count, every):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = config.QFormer(12, count, 2, 20, every)
    made = samples.model("qformer", qformer=sizes)
    params = samples.noise(made)
    peer = transformers.Blip2QFormerModel(
        transformers.Blip2QFormerConfig(
            hidden_size=12, num_hidden_layers=count, num_attention_heads=2,
            intermediate_size=20, encoder_hidden_size=samples.WIDTH,
            cross_attention_frequency=every, layer_norm_eps=1e-12,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    named = {k: torch.tensor(v.copy()) for k, v in to_torch(params, every).items()}
    peer.load_state_dict(named)
    project = {k: torch.tensor(np.asarray(v)) for k, v in params["project"].items()}
    x = torch.tensor(np.asarray(samples.FEATURES[0]), requires_grad=True)
    queries = torch.tensor(np.asarray(params["queries"]), requires_grad=True)
    hidden = peer(queries.expand(3, -1, -1), encoder_hidden_states=x).last_hidden_state
    expected = hidden @ project["kernel"] + project["bias"]
    (expected.sin() * torch.arange(3)[:, None]).sum().backward()

    def loss(params, features):
        out = samples.module(made).apply({"params": params}, features)
        return (jnp.sin(out) * jnp.arange(3)[:, None]).sum(), out

    step = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (slopes, slope), out = step(params, samples.FEATURES[:1])
    close(out[0], expected.detach().numpy())
    close(slope[0], x.grad.numpy())
    close(slopes["queries"], queries.grad.numpy())
    ours = to_torch(slopes, every)
    theirs = {name: p.grad.numpy() for name, p in peer.named_parameters()}
    assert sorted(ours) == sorted(theirs)
    for name, found in ours.items():
        if not name.endswith("key.bias"):  # softmax ignores it: zero but for rounding
            close(found, theirs[name])


@pytest.mark.extra
def test_tokens_and_gradients_are_those_of_transformers_instructblip():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = instructed()
    params = noise(made)
    peer = transformers.InstructBlipQFormerModel(
        transformers.InstructBlipQFormerConfig(
            vocab_size=made.decoder.vocab_size, hidden_size=12, num_hidden_layers=4,
            num_attention_heads=2, intermediate_size=20,
            encoder_hidden_size=samples.WIDTH, cross_attention_frequency=2,
            layer_norm_eps=1e-12, max_position_embeddings=4, pad_token_id=0,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    named = {k: torch.tensor(v.copy()) for k, v in to_torch(params, 2).items()}
    absent, unknown = peer.load_state_dict(named, strict=False)
    assert unknown == []
    assert set(absent) <= {"embeddings.position_ids"}
    project = {k: torch.tensor(np.asarray(v)) for k, v in params["project"].items()}
    x = torch.tensor(np.asarray(samples.FEATURES[0]), requires_grad=True)
    queries = torch.tensor(np.asarray(params["queries"]), requires_grad=True)
    present = torch.tensor(WORDS[0] >= 0).long()
    hidden = peer(
        input_ids=torch.tensor(np.maximum(WORDS[0], 0)).long(),
        attention_mask=torch.cat([torch.ones(3, 3).long(), present], dim=1),
        query_embeds=queries.expand(3, -1, -1),
        encoder_hidden_states=x,
    ).last_hidden_state[:, :3]
    expected = hidden @ project["kernel"] + project["bias"]
    (expected.sin() * torch.arange(3)[:, None]).sum().backward()

    def loss(params, features):
        out = samples.module(made).apply(
            {"params": params}, features, jnp.asarray(WORDS[:1])
        )
        return (jnp.sin(out) * jnp.arange(3)[:, None]).sum(), out

    step = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (slopes, slope), out = step(params, samples.FEATURES[:1])
    close(out[0], expected.detach().numpy())
    close(slope[0], x.grad.numpy())
    close(slopes["queries"], queries.grad.numpy())
    ours = to_torch(slopes, 2)
    theirs = {name: p.grad for name, p in peer.named_parameters()}
    assert sorted(ours) == sorted(theirs)
    for name, found in ours.items():
        if theirs[name] is None:  # what the last layer makes of words nobody reads
            assert name.startswith(("encoder.layer.3.inter", "encoder.layer.3.output."))
            assert not np.any(found)
        elif not name.endswith("key.bias"):
            close(found, theirs[name].numpy())


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 1e-4 of the largest number."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
