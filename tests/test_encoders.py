"""configs/encoders.py: published encoders have their published sizes."""

import jax
import jax.numpy as jnp
import pytest

from configs import encoders
from mmjax import config as config_lib
from mmjax import validation
from mmjax.models import vit as vit_lib

# Millions of parameters as open_clip (CLIP) and timm (the others) list them, and how
# many of those aren't the encoder's: CLIP's projection, SigLIP's attention pooling.
PROJECTION_L, PROJECTION_H = 1024 * 768, 1280 * 1024
POOLING = 15_238_352
PUBLISHED = {
    "clip_vit_l_14_224": (303.97, PROJECTION_L),
    "clip_vit_l_14_336": (304.29, PROJECTION_L),
    "dfn_vit_h_14_224": (632.08, PROJECTION_H),
    "dfn_vit_h_14_378": (632.68, PROJECTION_H),
    "siglip_so400m_14_224": (427.68, POOLING),
    "siglip_so400m_14_384": (428.23, POOLING),
    "siglip2_so400m_14_224": (427.68, POOLING),
    "siglip2_so400m_14_384": (428.23, POOLING),
    "dinov2_b_14": (86.58, 0),
    "dinov2_l_14": (304.37, 0),
    "dinov2_g_14": (1136.48, 0),
    "dinov2_b_14_registers": (86.58, 0),
    "dinov2_l_14_registers": (304.37, 0),
    "dinov2_g_14_registers": (1136.48, 0),
    "aimv2_l_14_224": (309.20, 0),
    "aimv2_l_14_336": (309.53, 0),
    "aimv2_h_14_224": (680.85, 0),
    "aimv2_h_14_336": (681.34, 0),
    "aimv2_1b_14_224": (1234.96, 0),
    "aimv2_1b_14_336": (1235.61, 0),
    "aimv2_3b_14_224": (2720.66, 0),
    "aimv2_3b_14_336": (2721.64, 0),
}


def parameters(vit: config_lib.ViT) -> int:
    side = vit.image_size
    pixels = jax.ShapeDtypeStruct((1, 1, side, side, 3), jnp.uint8)
    init = vit_lib.ViT(vit, "float32").init
    shapes = jax.eval_shape(init, jax.random.key(0), pixels)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_encoder_has_as_many_parameters_as_published(name):
    millions, others = PUBLISHED[name]
    found = parameters(encoders.ENCODERS[name]())
    assert (found + others) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(
    ("name", "width"),
    [("aim_600m_14_224", 1536), ("aim_1b_14_224", 2048), ("aim_3b_14_224", 3072)],
)
def test_an_aim_has_biases_in_its_norms_and_patches_alone(name, width):
    layers = 24 * (12 * width**2 + 4 * width)
    patches = 14 * 14 * 3 * width + width
    assert parameters(encoders.ENCODERS[name]()) == layers + patches + 4 * width


@pytest.mark.parametrize("name", encoders.ENCODERS)
def test_every_encoder_obeys_the_rules_alone_and_beside_another(name):
    vit = encoders.ENCODERS[name]()
    model = config_lib.Model(vit=vit)
    validation.validate(config_lib.Config(model=model))
    model.second_vit = encoders.second(encoders.ENCODERS[name]())
    validation.validate(config_lib.Config(model=model))
    assert config_lib.encoder_width(model) == 2 * vit.width


def test_prismatic_s_pair_has_one_grid():
    first = encoders.ENCODERS["dinov2_l_14_registers"]()
    first.image_size, first.features = 378, -2
    second = encoders.second(encoders.ENCODERS["siglip_so400m_14_384"]())
    second.features = -2
    model = config_lib.Model(vit=first, second_vit=second)
    validation.validate(config_lib.Config(model=model))
    assert config_lib.encoder_width(model) == 1024 + 1152
