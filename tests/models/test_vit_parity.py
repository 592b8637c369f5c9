"""The encoder against transformers': the same numbers from the same weights."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import encoders
from mmjax import config, optim
from mmjax.models import vit

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.extra

WIDTH, HEADS, HIDDEN, LAYERS, SIDE, PATCH = 24, 2, 40, 3, 32, 4
SIZES = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip
# Our name of a layer's part: theirs, in each of the families.
COMMON = {
    "attention/query": r"(self_attn|attention)\.q_proj",
    "attention/key": r"(self_attn|attention)\.k_proj",
    "attention/value": r"(self_attn|attention)\.v_proj",
    "attention/out": r"(self_attn|attention)\.(out|o)_proj",
    "mlp/gate": r"(mlp|ffn)\.gate_proj",
    "mlp/up": r"(mlp|ffn)\.(fc1|up_proj)",
    "mlp/down": r"(mlp|ffn)\.(fc2|down_proj)",
    "norm_attention": r"(layer_norm|norm|rms_norm)1",
    "norm_mlp": r"(layer_norm|norm|rms_norm)2",
    "scale_attention": "layer_scale1",
    "scale_mlp": "layer_scale2",
}
EMBEDDINGS = {
    "patch_embed": r"embeddings\.(patch_embed(ding)?|patch_embeddings\.projection)",
    "norm_embedding": r"(pre_layrnorm|embeddings\.rms_norm)",
    "norm": r"(post_layernorm|layernorm|rms_norm)",
}  # fmt: skip


def clip(**fields):
    """CLIP, and its encoder as ours."""
    theirs = transformers.CLIPVisionModel(
        transformers.CLIPVisionConfig(**SIZES, intermediate_size=HIDDEN)
    )
    return theirs, small(encoders.clip(SIDE, WIDTH, LAYERS, HEADS), **fields)


def siglip(**fields):
    theirs = transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(**SIZES, intermediate_size=HIDDEN)
    )
    return theirs, small(encoders.siglip_so400m(SIDE), **fields)


def dinov2(**fields):
    theirs = transformers.Dinov2Model(transformers.Dinov2Config(**SIZES))
    made = encoders.dinov2(WIDTH, LAYERS, HEADS, 0)
    return theirs, small(made, **{"mlp_width": 4 * WIDTH} | fields)


def dinov2_with_registers(**fields):
    theirs = transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**SIZES, use_swiglu_ffn=True)
    )
    made = encoders.dinov2(WIDTH, LAYERS, HEADS, 4, gated=True)
    return theirs, small(made, **{"mlp_width": 8 * WIDTH // 3} | fields)


def aimv2(positions="learned", **fields):
    theirs = transformers.Aimv2VisionModel(
        transformers.Aimv2VisionConfig(
            **SIZES, intermediate_size=HIDDEN, is_native=positions == "fixed"
        )
    )
    return theirs, small(encoders.aimv2(SIDE, WIDTH, HIDDEN, positions), **fields)


FAMILIES = {
    "clip": clip,
    "siglip": siglip,
    "dinov2": dinov2,
    "dinov2 giant with registers": dinov2_with_registers,
    "aimv2": aimv2,
    "aimv2 native": lambda **fields: aimv2("fixed", **fields),
}


def small(made: config.ViT, **fields) -> config.ViT:
    """A published encoder in the sizes of these tests."""
    sizes = {
        "image_size": SIDE, "patch_size": PATCH, "width": WIDTH, "layers": LAYERS,
        "heads": HEADS, "mlp_width": HIDDEN, "remat": "none",
        "position_grid": SIDE // PATCH if made.positions == "learned" else 0,
    }  # fmt: skip
    return config.ViT(**(vars(made) | sizes | fields))


def randomize(theirs) -> None:
    """Weights in which nothing is zero or one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            near_one = re.search("norm.*weight|lambda", name)
            parameter.copy_(1 + 0.1 * noise if near_one else 0.15 * noise)


def ours(theirs: dict, made: config.ViT) -> dict:
    """Their weights (or gradients), numpy arrays by name, as our parameters."""
    params = _embeddings(theirs, made)
    for name, pattern in EMBEDDINGS.items():
        params |= _leaves(theirs, name, pattern)
    for name, pattern in COMMON.items():
        layers = [
            _leaves(theirs, name, rf"encoder\.layers?\.{layer}\.{pattern}")
            for layer in range(config.encoder_layers(made))
        ]
        for leaf in layers[0]:
            stacked = np.stack([layer[leaf] for layer in layers])
            params[f"blocks/{leaf}"] = _heads(leaf, stacked, made)
    if made.features != -1:
        params = {k: v for k, v in params.items() if not k.startswith("norm/")}
    return optim.unflatten({path: jnp.asarray(leaf) for path, leaf in params.items()})


def _leaves(theirs: dict, name: str, pattern: str) -> dict[str, np.ndarray]:
    """The kernel or scale, and the bias, of the one part of theirs that matches."""
    found = {}
    for key, value in theirs.items():
        match = re.fullmatch(rf"{pattern}\.(weight|bias|lambda1)", key)
        if match and match[match.lastindex] == "bias":
            found[f"{name}/bias"] = value
        elif match and value.ndim == 4:  # a convolution, channels first
            found[f"{name}/kernel"] = value.transpose(2, 3, 1, 0).reshape(-1, WIDTH)
        elif match and value.ndim == 2:
            found[f"{name}/kernel"] = value.T
        elif match:
            found[f"{name}/scale"] = value
    return found


def _heads(leaf: str, stacked: np.ndarray, made: config.ViT) -> np.ndarray:
    """Queries, keys and values by head, and what leaves attention."""
    layers, size = len(stacked), made.width // made.heads
    if re.fullmatch("attention/(query|key|value)/(kernel|bias)", leaf):
        return stacked.reshape(*stacked.shape[:-1], made.heads, size)
    if leaf == "attention/out/kernel":
        return stacked.reshape(layers, made.heads, size, made.width)
    return stacked


def _embeddings(theirs: dict, made: config.ViT) -> dict[str, np.ndarray]:
    """Class token, registers and positions."""
    found = {}
    for key, value in theirs.items():
        if re.search("class_embedding|cls_token", key) and made.class_token:
            found["class_token"] = value.reshape(1, WIDTH)
        elif key.endswith("register_tokens"):
            found["registers"] = value.reshape(-1, WIDTH)
        elif re.search("position_embeddings?(.weight)?$", key):
            table = value.reshape(-1, WIDTH)
            found["positions"] = table[int(made.class_token) :]
            if made.class_token:
                found["class_position"] = table[:1]
    return found


def arrays(tensors) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in tensors}


def images(side: int = SIDE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, 1, side, side, 3), dtype=np.uint8)


def normalized(pixels: np.ndarray, made: config.ViT):
    """What their image processors make of the pixels."""
    values = (pixels[:, 0] / 255 - np.array(made.mean)) / np.array(made.std)
    return torch.tensor(values.transpose(0, 3, 1, 2), dtype=torch.float32)


def error(found, expected) -> float:
    """The largest difference, as a share of the largest number."""
    expected = np.asarray(expected)
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def features_of(theirs, made: config.ViT, inputs):
    """Their features of patches, of the layer that our config names."""
    options = {}
    if inputs.shape[-1] != SIDE and isinstance(
        theirs, (transformers.CLIPVisionModel, transformers.SiglipVisionModel)
    ):
        options = {"interpolate_pos_encoding": True}
    outputs = theirs(inputs, output_hidden_states=True, **options)
    if made.features == -1:
        last = outputs.last_hidden_state
        # CLIP norms its class token alone; the weights for patches are the same.
        clip = isinstance(theirs, transformers.CLIPVisionModel)
        last = theirs.post_layernorm(last) if clip else last
    else:
        last = outputs.hidden_states[made.features]
    return last[:, last.shape[1] - config.patches(made) :]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("features", [-1, -2])
def test_features_are_those_of_transformers(family, features):
    theirs, made = FAMILIES[family](features=features)
    randomize(theirs)
    params = ours(arrays(theirs.named_parameters()), made)
    expected = features_of(theirs, made, normalized(images(), made)).detach()
    module = vit.ViT(made, "float32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.asarray(images()))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes["params"])
    found = jax.jit(module.apply)({"params": params}, jnp.asarray(images()))
    assert error(found[:, 0], expected) < 1e-4


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "aimv2"])
@pytest.mark.parametrize("side", [24, 40])
def test_features_at_another_resolution_are_those_of_transformers(family, side):
    theirs, made = FAMILIES[family](image_size=side)
    randomize(theirs)
    params = ours(arrays(theirs.named_parameters()), made)
    expected = features_of(theirs, made, normalized(images(side), made)).detach()
    module = vit.ViT(made, "float32")
    found = jax.jit(module.apply)({"params": params}, jnp.asarray(images(side)))
    assert error(found[:, 0], expected) < 1e-4


@pytest.mark.parametrize("family", ["clip", "dinov2 giant with registers"])
def test_gradients_are_those_of_transformers(family):
    theirs, made = FAMILIES[family]()
    randomize(theirs)
    inputs = normalized(images(), made)
    torch.sin(features_of(theirs, made, inputs)).sum().backward()
    named = [(name, p.grad) for name, p in theirs.named_parameters()]
    expected = ours(arrays((n, g) for n, g in named if g is not None), made)
    module = vit.ViT(made, "float32")

    def total(params):
        return jnp.sum(jnp.sin(module.apply({"params": params}, jnp.asarray(images()))))

    params = ours(arrays(theirs.named_parameters()), made)
    found = optim.flatten(jax.jit(jax.grad(total))(params))
    largest = max(np.abs(leaf).max() for leaf in found.values())
    for path, leaf in optim.flatten(expected).items():
        difference = np.abs(found[path] - leaf).max()
        assert difference < 1e-4 * max(np.abs(leaf).max(), 1e-2 * largest), path
    assert found.keys() == optim.flatten(expected).keys()


def published(name: str, made: config.ViT):
    """The model of transformers that a published encoder's weights are for."""
    sizes = {
        "hidden_size": made.width, "num_hidden_layers": made.layers,
        "num_attention_heads": made.heads, "image_size": made.image_size,
        "patch_size": made.patch_size,
    }  # fmt: skip
    mlp, swiglu = {"intermediate_size": made.mlp_width}, {"use_swiglu_ffn": made.gated}
    if name.startswith("siglip"):
        settings = transformers.SiglipVisionConfig(**sizes, **mlp)
        return transformers.SiglipVisionModel(settings)
    if name.startswith("aimv2"):
        native = made.positions == "fixed"
        settings = transformers.Aimv2VisionConfig(**sizes, **mlp, is_native=native)
        return transformers.Aimv2VisionModel(settings)
    if made.registers:
        settings = transformers.Dinov2WithRegistersConfig(**sizes, **swiglu)
        return transformers.Dinov2WithRegistersModel(settings)
    if name.startswith("dinov2"):
        return transformers.Dinov2Model(transformers.Dinov2Config(**sizes, **swiglu))
    return transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes, **mlp))


@pytest.mark.parametrize("name", [n for n in encoders.ENCODERS if n[:4] != "aim_"])
def test_a_published_encoder_has_exactly_the_parameters_of_transformers(name):
    made = encoders.ENCODERS[name]()
    with torch.device("meta"):
        theirs = published(name, made)
    expected = sum(
        parameter.numel()
        for path, parameter in theirs.named_parameters()
        if "mask_token" not in path and not path.startswith("head.")
    )
    pixels = jax.ShapeDtypeStruct((1, 1, made.image_size, made.image_size, 3), np.uint8)
    module = vit.ViT(made, "float32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), pixels)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def aim_written_out(params: dict, inputs, heads: int, prefix: list[int] | None):
    """AIM by PyTorch's own parts (arXiv 2401.08541, section 3), weights by our names.

    Transformers has no AIM.
    """
    functional = torch.nn.functional
    p = {name: torch.tensor(np.asarray(leaf)) for name, leaf in params.items()}
    width = p["patch_embed/bias"].shape[0]

    def norm(x, name, layer=slice(None)):
        scale, bias = p[f"{name}/scale"][layer], p[f"{name}/bias"][layer]
        return functional.layer_norm(x, (width,), scale, bias, 1e-6)

    kernel = p["patch_embed/kernel"].reshape(PATCH, PATCH, 3, width)
    convolution = kernel.permute(3, 2, 0, 1)
    x = functional.conv2d(inputs, convolution, p["patch_embed/bias"], stride=PATCH)
    rows, columns = torch.meshgrid(*map(torch.arange, x.shape[2:]), indexing="ij")
    x = norm(x.flatten(2).transpose(1, 2), "norm_embedding")
    rate = 10_000.0 ** (-torch.arange(width // 4) / (width // 4))
    waves = [wave(at.flatten()[:, None] * rate) for at in (columns, rows)
             for wave in (torch.sin, torch.cos)]  # fmt: skip
    x = x + torch.cat(waves, dim=1)
    tokens = x.shape[1]
    mask = torch.ones(len(x), 1, tokens, tokens, dtype=torch.bool)
    if prefix is not None:
        mask = mask.tril()
        for image, seen in enumerate(prefix):
            mask[image, :, :, :seen] = True
    for layer in range(LAYERS):
        y = norm(x, "blocks/norm_attention", layer)
        q, k, v = (
            (y @ p[f"blocks/attention/{name}/kernel"][layer].reshape(width, width))
            .reshape(len(x), tokens, heads, -1)
            .transpose(1, 2)
            for name in ("query", "key", "value")
        )
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out = p["blocks/attention/out/kernel"][layer].reshape(width, width)
        x = x + y.transpose(1, 2).reshape(x.shape) @ out
        y = norm(x, "blocks/norm_mlp", layer) @ p["blocks/mlp/up/kernel"][layer]
        x = x + functional.gelu(y) @ p["blocks/mlp/down/kernel"][layer]
    return norm(x, "norm")


@pytest.mark.parametrize("prefix", [None, [5, 40]])
def test_aim_is_as_written_out_with_and_without_a_prefix(prefix):
    made = small(encoders.aim(WIDTH, HEADS))
    module = vit.ViT(made, "float32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.asarray(images()))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.2 * rng.normal(size=leaf.shape), jnp.float32),
        shapes["params"],
    )
    seen = () if prefix is None else (jnp.array(prefix)[:, None],)
    found = jax.jit(module.apply)({"params": params}, jnp.asarray(images()), *seen)
    inputs = normalized(images(), made)
    expected = aim_written_out(optim.flatten(params), inputs, HEADS, prefix)
    assert error(found[:, 0], expected) < 1e-4
