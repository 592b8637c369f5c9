"""What is measured is what the batches hold; rates are amounts by time."""

import functools

import pytest

from data_pipelines import pipeline
from data_pipelines.inspect import bench
from data_pipelines.records import Image


@pytest.mark.parametrize("workers", [0, 1])
def test_amounts_are_those_of_the_batches_after_the_first(world, workers):
    config = world.config(workers=workers)
    found = bench.measure(functools.partial(pipeline.open, config), 3)
    opened = pipeline.open(world.config())
    batches = list(opened.batches(1, 4))
    assert found.batches == 3
    assert found.made.images == sum(int(b.real_ZC.sum()) for b in batches)
    assert found.made.tokens == sum(int((b.segments_ZRT > 0).sum()) for b in batches)
    assert found.made.array_bytes == sum(a.nbytes for b in batches for a in b)
    assert found.made.documents == sum(
        int(b.segments_ZRT.max(axis=2).sum()) for b in batches
    )
    places = [
        place
        for step in (1, 2, 3)
        for group in opened.documents_of(step)
        for row in group
        for place in row
    ]
    size = 0
    for place in places:
        for segment in opened.document(*place).segments:
            image = isinstance(segment, Image)
            size += len(segment.data if image else segment.text.encode())
    assert found.made.encoded_bytes == size
    assert min(found.opening, found.first, found.time.wall, found.time.cpu) > 0
    assert found.memory > 10_000_000


def test_rates_are_amounts_by_time(world):
    made = bench.Made(10, 20, 4000, 8_000_000, 1_000_000)
    time = bench.Clock(wall=2.0, cpu=4.0)
    text = bench.text(world.config(), bench.Measured(0.1, 0.2, 5, time, made, 10**9))
    rows = {line.split("  ")[0]: line.split()[-2:] for line in text.splitlines()}
    assert rows["images"] == ["10", "5"]
    assert rows["tokens"] == ["2,000", "1,000"]
    assert rows["MB of arrays"] == ["4.00", "2.00"]
    assert "a batch takes 400.0 ms" in text
    assert "cores at work: 2.00" in text


def test_the_last_batches_of_a_run_can_be_measured_and_no_more(world):
    opened = functools.partial(pipeline.open, world.config())
    assert bench.measure(opened, 11).batches == 11
    with pytest.raises(ValueError, match="--batches=12: the run has 12"):
        bench.measure(opened, 12)
