"""The C-Abstractor, above all against the same network written in PyTorch."""

import connector_samples as samples
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config, optim

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_the_shapes_are_honeybee_s():
    """Biases in squeeze, excitation and MLP only; squeezed from a block's inputs."""
    model = config.Model()
    model.connector.kind = "c_abstractor"
    features = jax.ShapeDtypeStruct((1, 1, 729, 1280), jnp.bfloat16)
    module = samples.module(model)
    shapes = jax.eval_shape(module.init, jax.random.key(0), features)["params"]
    sizes = {path: leaf.shape for path, leaf in optim.flatten(shapes).items()}
    assert sizes["positions"] == (729, 1280)
    assert sizes["entry/squeeze/kernel"] == (1024, 320)
    assert sizes["before/squeeze/kernel"] == (2, 1024, 256)
    assert sizes["after/depthwise/kernel"] == (3, 3, 3, 1024)
    assert sizes["mlp/down/kernel"] == (2560, 2560)
    biased = {path.split("/")[-2] for path in sizes if path.endswith("bias")}
    assert {name for name in biased if not name.startswith("norm_")} == {
        "squeeze", "excite", "up", "down",
    }  # fmt: skip
    outside = sum(
        np.prod(shape)
        for path, shape in sizes.items()
        if not path.startswith(("mlp/", "positions"))
    )
    assert outside == pytest.approx(17.5e6, rel=0.01)  # the paper's, of width 1280


def test_a_patch_reaches_tokens_nearby_before_the_gates_and_all_by_them():
    """What is far hears of a patch through squeeze and excitation alone."""
    made = samples.model(
        "c_abstractor", tokens=16, c_abstractor=config.CAbstractor(width=12, depth=1)
    )
    params = samples.noise(made)
    before = samples.connect(made, params)
    changed = samples.connect(made, params, samples.FEATURES.at[:, :, 0].add(1))
    assert (before != changed).any(-1).all()
    for stage in ("entry", "after"):
        excite = params[stage]["excite"]
        excite["kernel"] = jnp.zeros_like(excite["kernel"])
    before = samples.connect(made, params)
    changed = samples.connect(made, params, samples.FEATURES.at[:, :, 0].add(1))
    different = (before != changed).any((0, 1, 3)).reshape(4, 4)
    # Two blocks, a neighbour each: two steps from the corner.
    np.testing.assert_array_equal(different, np.outer([1, 1, 1, 0], [1, 1, 1, 0]))


def test_positions_follow_images_of_another_size():
    made = samples.model("c_abstractor")
    params = samples.noise(made)
    larger = jax.random.normal(jax.random.key(5), (1, 2, 36, samples.WIDTH))
    assert samples.connect(made, params, larger).shape == (1, 2, 9, samples.OUT)


def in_torch(torch, made: config.Model):
    """Honeybee's network as its paper's code describes it, of torch.nn alone."""
    nn, connector = torch.nn, made.connector
    sizes, wide, out = connector.c_abstractor, made.vit.width, made.decoder.width
    side = int(connector.tokens**0.5)

    class Norm(nn.LayerNorm):  # over channels, at each pixel
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Block(nn.Module):
        def __init__(self, inputs, width):
            super().__init__()
            squeezed = round(sizes.se_ratio * inputs)
            self.expand = nn.Conv2d(inputs, width, 1, bias=False)
            self.depthwise = nn.Conv2d(
                width, width, 3, padding=1, groups=width, bias=False
            )
            self.squeeze = nn.Conv2d(width, squeezed, 1)
            self.excite = nn.Conv2d(squeezed, width, 1)
            self.out = nn.Conv2d(width, width, 1, bias=False)
            for name in ("expand", "depthwise", "out"):
                setattr(self, f"norm_{name}", Norm(width, eps=1e-6))
            self.moves = inputs != width
            if self.moves:
                self.shortcut = nn.Conv2d(inputs, width, 1, bias=False)
                self.norm_shortcut = Norm(width, eps=1e-6)

        def forward(self, x):
            silu = nn.functional.silu
            h = silu(self.norm_expand(self.expand(x)))
            h = silu(self.norm_depthwise(self.depthwise(h)))
            mean = nn.functional.adaptive_avg_pool2d(h, 1)
            h = h * torch.sigmoid(self.excite(silu(self.squeeze(mean))))
            h = self.norm_out(self.out(h))
            return silu(h + (self.norm_shortcut(self.shortcut(x)) if self.moves else x))

    class CAbstractor(nn.Module):
        def __init__(self):
            super().__init__()
            width = sizes.width
            self.positions = nn.Parameter(torch.empty(config.patches(made.vit), wide))
            rest = sizes.depth - 1
            self.entry = Block(wide, width)
            self.before = nn.ModuleList(Block(width, width) for _ in range(rest))
            self.pool = nn.AdaptiveAvgPool2d((side, side))
            self.after = nn.ModuleList(Block(width, width) for _ in range(sizes.depth))
            self.mlp = nn.ModuleDict(
                {"up": nn.Linear(width, out), "down": nn.Linear(out, out)}
            )

        def forward(self, x):  # [images, patches, channels]
            x = (x + self.positions).transpose(1, 2)
            x = x.unflatten(2, (int(x.shape[2] ** 0.5), -1))
            for block in (self.entry, *self.before):
                x = block(x)
            x = self.pool(x)
            for block in self.after:
                x = block(x)
            x = x.flatten(2).transpose(1, 2)
            return self.mlp["down"](nn.functional.silu(self.mlp["up"](x)))

    return CAbstractor()


def to_torch(path: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """The parameters of PyTorch's network that one of ours is, by name."""
    *parents, name = path.split("/")
    if parents and parents[0] in ("before", "after"):
        stage, *inner = parents
        return {
            key: value
            for layer, of_layer in enumerate(values)
            for key, value in to_torch(
                "/".join([f"{stage}.{layer}", *inner, name]), of_layer
            ).items()
        }
    if name == "kernel" and values.ndim == 3:  # depthwise: [3, 3, E]
        values = values.transpose(2, 0, 1)[:, None]
    elif name == "kernel":
        values = values.T if parents[0] == "mlp" else values.T[:, :, None, None]
    name = {"kernel": "weight", "scale": "weight"}.get(name, name)
    return {".".join([*parents, name]): values}


@pytest.mark.extra
@pytest.mark.parametrize(("grid", "tokens", "width"), [(4, 9, 12), (9, 16, 8)])
def test_tokens_and_gradients_are_those_of_honeybee_s_network(grid, tokens, width):
    torch = pytest.importorskip("torch")
    made = samples.model(
        "c_abstractor", tokens=tokens, c_abstractor=config.CAbstractor(width, 3)
    )
    made.vit.image_size = 4 * grid
    features = jax.random.normal(jax.random.key(6), (1, 3, grid**2, samples.WIDTH))
    params = samples.noise(made, features)
    peer, named = in_torch(torch, made), {}
    for path, leaf in optim.flatten(params).items():
        named |= to_torch(path, np.asarray(leaf))
    peer.load_state_dict({k: torch.tensor(v.copy()) for k, v in named.items()})
    x = torch.tensor(np.asarray(features[0]), requires_grad=True)
    expected = peer(x)
    (expected.sin() * torch.arange(tokens)[:, None]).sum().backward()

    def loss(params, features):
        out = samples.module(made).apply({"params": params}, features)
        return (jnp.sin(out) * jnp.arange(tokens)[:, None]).sum(), out

    step = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (slopes, slope), out = step(params, features)
    close(out[0], expected.detach().numpy())
    close(slope[0], x.grad.numpy())
    ours = {}
    for path, leaf in optim.flatten(slopes).items():
        ours |= to_torch(path, np.asarray(leaf))
    theirs = {name: p.grad.numpy() for name, p in peer.named_parameters()}
    assert sorted(ours) == sorted(theirs)
    for name, found in ours.items():
        close(found, theirs[name])


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 1e-4 of the largest number."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
