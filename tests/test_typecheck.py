"""Fields and types of a config tree."""

import pytest

from mmjax import config, typecheck


def test_every_field_of_the_tree_is_known_and_a_default_config_passes():
    known = set(typecheck.fields())
    assert {
        "config.steps",
        "config.model.vit.width",
        "config.data.sources",
        "config.data.sources[].name",
        "config.mixture.schedule[].weights",
    } <= known
    assert "config.model" not in known
    typecheck.check(config.Config())


@pytest.mark.parametrize(
    ("part", "field", "value", "line"),
    [
        ("optim", "peak_lr", "1e-3", "config.optim.peak_lr='1e-3': must be float"),
        ("optim", "accumulate", 2.0, "config.optim.accumulate=2.0: must be int"),
        ("optim", "accumulate", True, "config.optim.accumulate=True: must be int"),
        ("log", "tensorboard", 1, "config.log.tensorboard=1: must be bool"),
        ("mixture", "weights", [1, 2], "config.mixture.weights=[1, 2]: must be a "
         "tuple"),
        ("mixture", "weights", (1, "2"), "config.mixture.weights[1]='2': must be int"),
        ("data", "sources", ("text",), "config.data.sources[0]='text': must be a "
         "Source"),
        ("model", "vit", None, "config.model.vit=None: must be a ViT"),
        ("optim", "peaklr", 1.0, "config.optim.peaklr: no such field; did you mean "
         "config.optim.peak_lr?"),
    ],
)  # fmt: skip
def test_a_wrong_type_or_name_is_one_line(part, field, value, line):
    made = config.Config()
    setattr(getattr(made, part), field, value)
    with pytest.raises(ValueError, match=r"\S") as caught:
        typecheck.check(made)
    assert str(caught.value) == line


def test_a_whole_number_is_a_float_and_all_problems_are_told_together():
    made = config.Config()
    made.optim.peak_lr = 1
    typecheck.check(made)
    made.steps, made.seed = "1", "2"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"config\.steps.*\n.*config\.seed"):
        typecheck.check(made)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("config.stesp", "config.steps"),
        ("config.optim.peaklr", "config.optim.peak_lr"),
        ("config.image_size", "config.model.vit.image_size"),
        ("config.data.sources[2].pth", "config.data.sources[2].path"),
    ],
)
def test_the_field_that_was_meant_is_found(path, meant):
    assert typecheck.unknown_field(path) == (
        f"{path}: no such field; did you mean {meant}?"
    )
