"""The search: every combination, each with its prediction or its problem."""

import json

import estimate_samples
import pytest

from mmjax.estimate import search


def test_variants_are_all_combinations_with_values_of_the_fields_types():
    config = estimate_samples.config()
    found = search.variants(
        config,
        ["mesh.fsdp=8,16", "model.decoder.remat=full,dots", "optim.peak_lr=1e-3"],
    )
    assert [each.name for each in found] == [
        f"mesh.fsdp={fsdp} model.decoder.remat={remat} optim.peak_lr=1e-3"
        for fsdp in (8, 16)
        for remat in ("full", "dots")
    ]
    last = found[-1].config
    assert (last.mesh.fsdp, last.model.decoder.remat) == (16, "dots")
    assert last.optim.peak_lr == 1e-3
    assert config.optim.peak_lr != 1e-3  # the config itself stays


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("mesh.fsdp", "FIELD=VALUE"),
        ("mesh.fdsp=8", "fdsp"),
        ("mesh.fsdp=many", "type int"),
        ("mixture.weights=1", "no number"),
        ("model.vit.gated=2", "no number"),
    ],
)
def test_a_search_that_cant_be_is_refused_in_one_line(entry, told):
    with pytest.raises(ValueError, match=told) as raised:
        search.variants(estimate_samples.config(), [entry])
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def found():
    """The outcomes of rows that differ in cost, of a refusal and of a broken rule."""
    tried = search.variants(
        estimate_samples.config(),
        ["data.rows_per_batch=512,513", "model.decoder.remat=full,none"],
    )

    def estimate(config, name):
        if config.model.decoder.remat == "none":
            raise ValueError(f"out of memory: {name}")
        return estimate_samples.predicted()

    return list(search.outcomes(tried, estimate))


def test_what_cant_be_stands_beside_what_can(found):
    problems = [each.problem for each in found]
    assert problems[0] == ""
    assert problems[1].startswith("out of memory")
    assert all("data.rows_per_pool" in problem for problem in problems[2:])
    lines = list(search.lines(found))
    assert lines[1].startswith("data.rows_per_batch=512 model.decoder.remat=full ")
    assert sum("out of memory" in line for line in lines) == 1


def test_json_has_every_variant_in_order(found):
    read = json.loads(search.to_json(found))
    assert [each["changes"]["model.decoder.remat"] for each in read] == [
        "full", "none", "full", "none",
    ]  # fmt: skip
    assert read[0]["prediction"]["topology"] == "v5p:4x4x4"
    assert read[1]["prediction"] is None
