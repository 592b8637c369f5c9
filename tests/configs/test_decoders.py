"""The named decoders have the sizes that their makers publish."""

import functools
import inspect

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from configs import decoders, mm1_7b, mm1_30b, mm1_base
from mmjax import config, optim, sharding, validation
from mmjax.models import vlm

# (parameters in all, without embeddings): as the model cards' files of weights count
# them, tied tables once; Gemma's reports give both numbers.
PUBLISHED = {
    "llama2_7b": (6_738_415_616, None),
    "llama2_13b": (13_015_864_320, None),
    "llama3_8b": (8_030_261_248, None),
    "llama3_1_8b": (8_030_261_248, None),
    "llama3_2_1b": (1_235_814_400, None),
    "llama3_2_3b": (3_212_749_824, None),
    "mistral_7b": (7_241_732_096, None),
    "qwen2_0_5b": (494_032_768, 0.36e9),
    "qwen2_1_5b": (1_543_714_304, 1.31e9),
    "qwen2_5_3b": (3_085_938_688, 2.77e9),
    "qwen2_7b": (7_615_616_512, 6.53e9),
    "qwen3_0_6b": (596_049_920, 0.44e9),
    "qwen3_1_7b": (1_720_574_976, 1.4e9),
    "qwen3_4b": (4_022_468_096, 3.6e9),
    "qwen3_8b": (8_190_735_360, 6.95e9),
    "gemma2_2b": (2_614_341_888, 2_024_517_888),
    "gemma2_9b": (9_241_705_984, 8_324_201_984),
    "gemma3_1b": (999_885_952, 698e6),
    "gemma3_4b": (3_880_263_168, 3_209e6),
}
# Of DESIGN's own table: MM1 doesn't publish its dimensions.
DESIGNED = {"mm1_base": 1.2e9, "mm1_3b": 2.54e9, "mm1_7b": 6.48e9, "mm1_30b": 29.9e9}
NAMES = [
    name
    for name, made in inspect.getmembers(decoders, inspect.isfunction)
    if not name.startswith("_")
]


@functools.cache
def shapes(name: str) -> dict[str, jax.ShapeDtypeStruct]:
    """The decoder's parameters by path; nothing is computed."""
    small = config.ViT(image_size=28, width=8, layers=1, heads=1, mlp_width=8)
    pool = config.Connector(kind="average_pool", tokens=4)
    model = config.Model(vit=small, connector=pool, decoder=getattr(decoders, name)())
    tree = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    return optim.flatten({"decoder": tree["decoder"]})


def test_every_size_is_known():
    assert sorted(NAMES) == sorted([*PUBLISHED, *DESIGNED])


@pytest.mark.parametrize("name", NAMES)
def test_a_named_decoder_has_its_published_size(name):
    sizes = {path: int(np.prod(leaf.shape)) for path, leaf in shapes(name).items()}
    tables = sum(
        n for path, n in sizes.items() if path.endswith(("embedding", "unembed"))
    )
    total = sum(sizes.values())
    decoder = getattr(decoders, name)()
    assert config.decoder_parameters(decoder) == (total - tables, tables)
    if name in DESIGNED:
        assert total - tables == pytest.approx(DESIGNED[name], rel=0.03)
        assert all(n % 256 == 0 for n in (decoder.width, decoder.mlp_width))
        return
    published, body = PUBLISHED[name]
    assert total == published
    assert body is None or total - tables == pytest.approx(body, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_named_decoder_is_valid_and_laid_out_by_one_rule_a_parameter(name):
    model = config.Model(decoder=getattr(decoders, name)())
    validation.validate(config.Config(model=model))
    mesh = AbstractMesh((2, 2, 2, 1, 1), sharding.AXES, (AxisType.Auto,) * 5)
    specs = sharding.param_specs(shapes(name), mesh)  # refuses what doesn't match one
    kernels = [path for path in specs if path.endswith("kernel")]
    assert kernels
    assert all(any(specs[path]) for path in kernels)  # none lies whole everywhere


def test_weight_decay_spares_norms_and_biases():
    for name in "qwen2_0_5b", "qwen3_0_6b", "gemma3_1b":
        for path in shapes(name):
            last = path.rsplit("/", 1)[1]
            assert optim.decays(path) == (last in ("kernel", "embedding", "unembed"))


def test_layers_alternate_as_published():
    kinds = {
        name: "".join(
            "l" if config.is_local(decoder, layer) else "G"
            for layer in range(decoder.layers)
        )
        for name in NAMES
        for decoder in [getattr(decoders, name)()]
    }
    assert kinds["gemma2_2b"] == "lG" * 13
    assert kinds["gemma3_1b"] == "lllllG" * 4 + "ll"
    assert kinds["gemma3_4b"] == "lllllG" * 5 + "llll"
    assert kinds["mistral_7b"] == "l" * 32
    assert kinds["llama3_8b"] == "G" * 32


@pytest.mark.parametrize(
    ("file", "rate", "body"),  # MM1's predicted rates (arXiv 2403.09611, appendix B)
    [(mm1_base, 8.6e-5, 1.2e9), (mm1_7b, 4.2e-5, 6.5e9), (mm1_30b, 2.2e-5, 29.9e9)],
)
def test_mm1_s_runs_have_their_size_and_rate(file, rate, body):
    run = file.get_config()
    validation.validate(run)
    assert config.decoder_parameters(run.model.decoder)[0] == pytest.approx(
        body, rel=0.03
    )
    assert run.optim.peak_lr == pytest.approx(rate, rel=0.02)
    assert run.model.connector.tokens == 144
    assert run.model.z_loss == (1e-4 if file is mm1_30b else 0)
    assert run.model.vit.image_size == (336 if file is mm1_base else 378)
