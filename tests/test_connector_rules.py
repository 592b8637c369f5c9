"""How many tokens each connector can make, and what it says where it can't."""

import pytest

from configs import quickstart
from mmjax import config as config_lib
from mmjax import connector_rules, validation

GRID = 6  # patches a side


def model(**connector) -> config_lib.Model:
    """A model of 6 x 6 patches; fields of its connector."""
    made = config_lib.Model(vit=config_lib.ViT(image_size=84))
    for name, value in connector.items():
        assert hasattr(made.connector, name)
        setattr(made.connector, name, value)
    return made


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("average_pool", {1, 4, 9, 16, 25, 36, 49}),  # a larger grid repeats patches
        ("c_abstractor", {1, 4, 9, 16, 25, 36, 49}),
        ("linear", {36}),
        ("mlp", {36}),
        ("perceiver", set(range(1, 50))),
        ("pixel_shuffle", {1, 4, 9, 36}),
        ("qformer", set(range(1, 50))),
        ("token_concat", {1, 2, 3, 4, 6, 9, 12, 18, 36}),
    ],
)
def test_each_kind_makes_the_tokens_that_it_can(kind, allowed):
    found = {
        tokens
        for tokens in range(1, 50)
        if not connector_rules.problems(model(kind=kind, tokens=tokens))
    }
    assert found == allowed


def test_every_kind_has_its_rules():
    assert sorted(connector_rules.KINDS) == sorted(config_lib.CONNECTORS)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"kind": "mlp", "tokens": 9},
            "model.connector.tokens=9: mlp makes 36 of the encoder's 6 x 6 patches",
        ),
        (
            {"kind": "pixel_shuffle", "tokens": 16},
            "tokens=16: pixel_shuffle makes 1, 4, 9 or 36 of the encoder's 6 x 6",
        ),
        (
            {"kind": "c_abstractor", "tokens": 15},
            "tokens=15: c_abstractor makes the square of any number, such as 9 or 16",
        ),
        (
            {"kind": "mlp", "tokens": 36, "mlp_depth": 1},
            "model.connector.mlp_depth=1: must be at least 2 for mlp; "
            "model.connector.kind=linear has one layer",
        ),
        (
            {"kind": "perceiver", "heads": 7},
            "model.connector.heads=7: must divide model.decoder.width=2560",
        ),
        (
            {"kind": "qformer", "qformer": config_lib.QFormer(heads=7)},
            "model.connector.qformer.heads=7: must divide "
            "model.connector.qformer.width=768",
        ),
        (
            {"kind": "qformer", "qformer": config_lib.QFormer(layers=3)},
            "model.connector.qformer.cross_every=2: must divide "
            "model.connector.qformer.layers=3",
        ),
    ],
)
def test_a_broken_rule_names_field_value_and_rule(fields, says):
    with pytest.raises(ValueError, match=r"connector") as error:
        validation.validate(config_lib.Config(model=model(**fields)))
    assert says in str(error.value)


def test_a_number_of_tokens_below_one_is_one_problem_of_its_own():
    made = model(kind="c_abstractor", tokens=-4)
    with pytest.raises(ValueError, match="tokens=-4: must be positive"):
        validation.validate(config_lib.Config(model=made))


@pytest.mark.parametrize("kind", config_lib.CONNECTORS)
def test_the_quickstart_makes_16_tokens_with_each_kind_by_its_flag_alone(kind):
    config = quickstart.get_config()
    config.model.connector.kind, config.model.connector.tokens = kind, 16
    validation.validate(config)


@pytest.mark.parametrize("kind", config_lib.CONNECTORS)
def test_tiles_become_one_picture_where_tokens_are_a_square_of_patches(kind):
    made = model(kind=kind, tokens=36)
    assert not connector_rules.problems(made)
    made.preprocessing = config_lib.Preprocessing(tiling="anyres", unpad=True)
    problems = connector_rules.problems(made)
    if kind in ("perceiver", "qformer", "token_concat"):
        (line,) = problems
        assert "model.preprocessing.unpad=True: needs tokens that are a square" in line
        assert f"model.connector.kind={kind} has none" in line
    else:
        assert not problems
