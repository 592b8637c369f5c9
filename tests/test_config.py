"""The config tree: what it computes, and that it survives JSON."""

import copy
import importlib
import json
import math
import pathlib

import numpy as np
import pytest

from mmjax import config as config_lib
from mmjax import validation

HOME = pathlib.Path(__file__).parent.parent / "configs"
CONFIGS = sorted(
    ".".join(path.relative_to(HOME).with_suffix("").parts)
    for path in HOME.rglob("*.py")
    if "def get_config(" in path.read_text()
)


def load(name: str) -> config_lib.Config:
    """The config that a file in configs/ returns."""
    return importlib.import_module(f"configs.{name}").get_config()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_file_is_valid(name):
    validation.validate(load(name))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_survives_json(name):
    config = load(name)
    config.mixture.schedule = (config_lib.WeightChange(10, config.mixture.weights),)
    config.optim.lr_rules = (config_lib.LrRule("^vit/", 0.1),)
    text = json.dumps(config_lib.to_dict(config))
    assert config_lib.from_dict(json.loads(text)) == config


def test_an_unknown_field_of_a_saved_config_is_named():
    values = config_lib.to_dict(config_lib.Config())
    values["model"]["vit"]["colour"] = 1
    with pytest.raises(ValueError, match="ViT has no field 'colour'"):
        config_lib.from_dict(values)


def test_reference_sizes_match_the_design():
    body, embeddings = config_lib.decoder_parameters(load("mm1_3b").model.decoder)
    assert body == pytest.approx(2.54e9, rel=0.01)
    assert 2.7e9 <= body + embeddings <= 2.9e9


@pytest.mark.parametrize(("name", "size"), [("mm1_3b_moe", 56e9), ("mm1_7b_moe", 41e9)])
def test_sizes_with_experts_match_the_design(name, size):
    config = load(name)
    parameters = sum(config_lib.decoder_parameters(config.model.decoder))
    assert parameters == pytest.approx(size, rel=0.03)
    dense = load(name.removesuffix("_moe"))
    assert config.optim == dense.optim


@pytest.mark.parametrize(
    ("parameters", "rate"),  # the paper's predictions: 2.9 B and 30 B
    [(1.2e9, 8.6e-5), (2.9e9, 5.9e-5), (6.4e9, 4.2e-5), (30e9, 2.2e-5)],
)
def test_learning_rate_law_gives_the_papers_rates(parameters, rate):
    assert config_lib.mm1_learning_rate(parameters) == pytest.approx(rate, rel=0.015)


def test_learning_rate_law_is_a_line_in_log_space():
    log_rate = [math.log(config_lib.mm1_learning_rate(n)) for n in (10**7, 10**9)]
    slope = (log_rate[1] - log_rate[0]) / math.log(100)
    assert slope == pytest.approx(-0.4214)


def test_every_image_costs_one_slot_and_the_connectors_tokens():
    model = config_lib.Model()
    cost = config_lib.image_cost(model, [640, 50, 1], [480, 900, 1])
    assert cost.slots.tolist() == [1, 1, 1]
    assert cost.positions.tolist() == [144, 144, 144]


def tiled(tiling: str, **fields) -> config_lib.Model:
    how = config_lib.Preprocessing(tiling=tiling, **fields)
    return config_lib.Model(vit=config_lib.ViT(image_size=336), preprocessing=how)


@pytest.mark.parametrize(
    ("tiling", "slots"),
    [("none", [1, 1, 1, 1]), ("mm1", [5, 5, 5, 5]), ("anyres", [5, 4, 3, 3])],
)
def test_a_tiled_image_costs_as_many_slots_as_it_has_crops(tiling, slots):
    sizes = [640, 1000, 300, 1], [480, 300, 300, 10_000]
    cost = config_lib.image_cost(tiled(tiling), *map(np.array, sizes))
    assert cost.slots.tolist() == slots
    assert cost.positions.tolist() == [144 * n for n in slots]
    assert cost.slots.max() == config_lib.most_crops(tiled(tiling))


def test_costs_have_other_facts_exactly_where_they_may_differ():
    models = [
        tiled("none"),
        tiled("mm1"),
        tiled("mm1", grids=((3, 3),)),
        tiled("anyres"),
        tiled("anyres", grids=((2, 2), (1, 2))),
        tiled("anyres", grids=((1, 2), (2, 2))),
    ]
    models += [copy.deepcopy(models[3])]
    models[-1].vit.image_size = 224
    facts = [config_lib.image_cost_facts(model) for model in models]
    assert len(set(facts)) == len(models)
    same = tiled("none", resize="crop", interpolation="bicubic")
    same.vit.image_size = 224
    assert config_lib.image_cost_facts(same) == facts[0] == (144,)


def test_grids_survive_json():
    config = config_lib.Config(model=tiled("anyres", grids=((1, 2), (3, 3))))
    text = json.dumps(config_lib.to_dict(config))
    assert config_lib.from_dict(json.loads(text)) == config


def test_what_is_set_in_one_config_leaves_others_alone():
    changed = config_lib.Config()
    changed.data.sources[0].name = "pictures"
    changed.model.vit.width = 4
    changed.mixture.weights = (1, 0, 0)
    assert config_lib.Config().data.sources[0].name == "captions"
    assert config_lib.Config() == config_lib.Config()
    assert config_lib.Config() != changed
