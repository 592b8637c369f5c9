"""The largest batch: exact, of few tries, and what is told where there is none."""

import json

import estimate_samples
import pytest

from mmjax.estimate import largest_batch, topologies
from mmjax.estimate.estimator import DoesNotFitError
from mmjax.estimate.topologies import GIB

TOPOLOGY = topologies.parse("v5p:4x4x4")
HBM = TOPOLOGY.generation.hbm_bytes
UNIT = 4 * 16  # rows: a pool group of 16 for each of mesh.data's 4


class Compiler:
    """Steps whose memory is known beforehand, by rows of a batch."""

    def __init__(self, needs):
        self.needs = needs
        self.tried = []

    def __call__(self, config, name):
        rows = config.data.rows_per_batch
        assert name == f"data.rows_per_batch={rows}"
        self.tried.append(rows)
        size = self.needs(rows)
        if size > HBM:
            raise DoesNotFitError(f"out of memory: needs {size / GIB:.1f} GiB", size)
        made = estimate_samples.predicted()
        return made._replace(memory=made.memory._replace(temporaries=0.0)._replace(
            temporaries=size - made.memory._replace(temporaries=0.0).total
        ))  # fmt: skip


def find(needs, accumulate=1):
    config = estimate_samples.config()
    config.optim.accumulate = accumulate
    compiler = Compiler(needs)
    return largest_batch.find(config, TOPOLOGY, compiler), compiler.tried


@pytest.mark.parametrize("fixed", [2, 12, 60, 94])
@pytest.mark.parametrize("of_row", [0.01, 0.05, 0.3, 1.1])
@pytest.mark.parametrize("steps", [1, 3], ids=["line", "stairs"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_is_the_last_that_fits_and_few_are_tried(fixed, of_row, steps, accumulate):
    unit = UNIT * accumulate

    def needs(rows):
        # Stairs: compilers give memory in pieces.
        return GIB * (fixed + of_row * (-(-rows // (steps * unit)) * steps * unit))

    fitting = [rows for rows in range(unit, 20000, unit) if needs(rows) <= HBM]
    if not fitting:
        with pytest.raises(DoesNotFitError, match="out of memory: needs"):
            find(needs, accumulate)
        return
    found, tried = find(needs, accumulate)
    assert found.rows == fitting[-1]
    assert {found.rows, found.rows + unit} <= set(tried)
    assert len(tried) == len(set(tried)) <= 9


def test_what_was_found_is_told_with_what_was_tried():
    found, tried = find(lambda rows: GIB * (20 + 0.1 * rows))
    assert found.rows == 704  # 90.4 GiB; 768 would be 96.8 of 95
    first, _, *table = largest_batch.lines(found, TOPOLOGY)
    assert first == (
        "largest batch that fits: data.rows_per_batch=704, 11 rows a chip, "
        "90.4 of 95 GiB of a device"
    )
    assert any("data.rows_per_batch=768: out of memory" in line for line in table)
    read = json.loads(largest_batch.to_json(found))
    assert read["largest_batch"] == 704
    assert [int(x["changes"]["data.rows_per_batch"]) for x in read["tried"]] == tried


def test_another_error_ends_the_search():
    def refuse(config, name):
        raise ValueError("the compiler refuses: something")

    with pytest.raises(ValueError, match="the compiler refuses"):
        largest_batch.find(estimate_samples.config(), TOPOLOGY, refuse)
