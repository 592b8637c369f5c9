"""Tests of blocks: what they hold, and what a run of them needs."""

import numpy as np
import plan_samples
import pytest

from data_pipelines import blocks
from data_pipelines.blocks import Blocks
from data_pipelines.mixture import Mixture
from data_pipelines.plan import Layout, SourcePlan
from mmjax.config import Data, WeightChange

DATA = Data(rows_per_batch=12, rows_per_pool=4, block_batches=3)


def make(schedule=(), batches=0) -> Blocks:
    plans = [
        SourcePlan(name, plan_samples.sample(300, 20, images), Layout(64, 9, 50, 0))
        for name, images in (("captions", 1), ("interleaved", 3))
    ]
    mixture = Mixture((3, 2, 1), schedule, DATA.rows_per_batch)
    return Blocks(mixture, [*plans, None], DATA, batches)


def test_blocks_hold_every_row_of_the_mixture_once():
    dealer = make([WeightChange(4, (1, 1, 0))])
    dealt = [dealer.deal(number) for number in range(5)]
    sources = np.concatenate([block.sources for block in dealt])
    rows = np.concatenate([block.rows for block in dealt])
    mixture = Mixture((3, 2, 1), [WeightChange(4, (1, 1, 0))], 12)
    np.testing.assert_array_equal(sources, mixture.sources(0, 5 * 36))
    for source, count in enumerate(mixture.counts(5 * 36)):
        assert sorted(rows[sources == source]) == list(range(count))


def test_the_last_block_of_a_finite_plan_holds_what_remains():
    dealer = make(batches=4)
    assert [len(dealer.deal(number).rows) for number in range(2)] == [36, 12]


def test_the_need_of_a_short_run_is_that_of_its_heaviest_block():
    dealer = make()
    need, words = dealer.need(0, 3 * 20 - 1)
    assert need == max(dealer.deal(number).need for number in range(20))
    assert words == "in all 20 blocks of batches"


def test_the_need_of_a_long_run_is_that_of_its_heaviest_and_some_other_blocks(
    monkeypatch,
):
    monkeypatch.setattr(blocks, "EXACT_BLOCKS", 10)
    monkeypatch.setattr(blocks, "SAMPLED_BLOCKS", 3)
    dealer = make()
    slots = [dealer._slots(number) for number in range(40)]
    need, words = dealer.need(0, 3 * 40)
    heaviest = np.argsort(slots)[-3:]
    assert need == max(dealer.deal(n).need for n in {*heaviest.tolist(), 0, 19, 39})
    assert "of 40 blocks" in words


@pytest.mark.slow
def test_a_block_of_32_batches_of_512_rows_is_dealt_well_under_a_second():
    plans = [
        SourcePlan("one", plan_samples.sample(500_000, 24, 1), Layout(256, 16, 2048, 0))
    ]
    dealer = Blocks(Mixture((1,)), plans, Data())
    dealer.deal(0)
    assert dealer.deal(0).need > 0
