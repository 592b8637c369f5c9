"""Batches don't depend on hosts, workers, threads or where a run starts again."""

import collections
import functools
import itertools

import numpy as np
import pytest
import small_world

from data_pipelines import index, pipeline, shards, tokenizer
from data_pipelines.records import Document, Text
from mmjax.batch import Batch, Share
from mmjax.config import Mixture, Source

STEPS = 6
HOSTS = (1, 2, 4, 8)
RECORDS = 20_000


def shares(hosts, capacity):
    """What each of so many hosts holds of 2 groups of 4 rows."""
    groups = min(hosts, 2)
    parts = hosts // groups  # of a group
    boxes = itertools.product(range(groups), range(parts))
    ranges = lambda size, of, n: (n * size // of, (n + 1) * size // of)  # noqa: E731
    return [
        Share(ranges(2, groups, z), ranges(4, parts, r), ranges(capacity, parts, r))
        for z, r in boxes
    ]


def glued(parts, capacity):
    """The global batch of what the hosts hold."""
    hosts = len(parts)
    whole = None
    for share, part in zip(shares(hosts, capacity), parts):
        if whole is None:
            whole = Batch(
                *(np.full((2, 4, *a.shape[2:]), 99).astype(a.dtype) for a in part[:7]),
                *(
                    np.full((2, capacity, *a.shape[2:]), 99).astype(a.dtype)
                    for a in part[7:]
                ),
            )
        for place, (target, values) in enumerate(zip(whole, part)):
            across = share.rows if place < 7 else share.slots
            target[slice(*share.groups), slice(*across)] = values
    return whole


def walk(world, share_of, hosts, reading, restarts):
    """All batches as each host sees them, in runs that end at `restarts`."""
    for start, stop in itertools.pairwise([0, *restarts, STEPS]):
        made, known = [], None
        for host in range(hosts):
            opened = pipeline.open(world.config(**reading), known=known)
            known = opened.plan.known(start)  # as a checkpoint has it
            made.append(list(opened.batches(start, stop, share_of(opened, host))))
        yield from zip(*made, strict=True)


def check(world, reference, hosts, reading, seed, runs=3):
    """Hosts that start again at random steps give the batches of the reference."""
    rng = np.random.default_rng(seed)
    restarts = sorted(rng.choice(np.arange(1, STEPS), runs - 1, False).tolist())
    share_of = lambda opened, host: shares(hosts, opened.capacity)[host]  # noqa: E731
    count = 0
    for parts, expected in zip(
        walk(world, share_of, hosts, reading, restarts), reference, strict=True
    ):
        capacity = expected.real_ZC.shape[1]
        assert small_world.equal(glued(parts, capacity), expected)
        count += 1
    assert count == STEPS


@pytest.mark.parametrize("hosts", HOSTS)
def test_hosts_that_start_again_anywhere_glue_to_the_same_batches(
    world, reference, hosts
):
    check(world, reference, hosts, {"threads": 3, "prefetch": 5}, seed=hosts)


def test_workers_of_two_hosts_do_so_too(world, reference):
    rng = np.random.default_rng(9)
    start = int(rng.integers(1, STEPS))
    for host in range(2):
        opened = pipeline.open(world.config(workers=1))
        share = shares(2, opened.capacity)[host]
        found = list(opened.batches(start, STEPS, share))
        assert len(found) == STEPS - start
        for part, expected in zip(found, reference[start:], strict=True):
            assert small_world.equal(part, [a[host : host + 1] for a in expected])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("hosts", HOSTS)
def test_the_whole_matrix(world, reference, hosts, workers):
    runs = 2 if workers else 3  # each starts all of its processes again
    check(world, reference, hosts, {"workers": workers}, 10 * workers + hosts, runs)


@pytest.mark.parametrize("hosts", HOSTS)
def test_every_host_counts_the_same_mixture_and_holds_its_part(world, hosts):
    config = world.config()
    first = pipeline.open(config)
    planned = first.plan.counts(STEPS)
    delivered = np.zeros(3, np.int64)
    for share in shares(hosts, first.capacity):
        opened = pipeline.open(config, known=first.plan.known(0))
        assert opened.digest == first.digest
        for what, counts in opened.plan.counts(STEPS).items():
            assert np.array_equal(counts, planned[what]), what
        for batch in opened.batches(0, STEPS, share):
            delivered += np.bincount(batch.sources_ZRT[..., 0].ravel(), minlength=3)
    assert np.array_equal(delivered, planned["rows"])
    exact = np.array(config.mixture.weights) / sum(config.mixture.weights)
    assert np.abs(delivered - exact * STEPS * 8).max() < 1


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """20,000 small texts, each with its own number."""
    root = tmp_path_factory.mktemp("texts")
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(small_world.WORDS, 3)) for _ in range(50)]
    documents = [Document((Text(f"{n} {words[n % 50]}"),)) for n in range(RECORDS)]
    model = tokenizer.train(
        [d.segments[0].text for d in documents[::20]], root / "tokenizer.model", 320
    )
    shards.write(root / "text" / "train", documents, 4)
    index.build(root / "text" / "train", model)
    return small_world.World(str(root), {"text/train": documents}, model)


def numbers(batch, words):
    """The numbers of the texts in a batch, by what its tokens say."""
    found = []
    for row, segments in zip(
        batch.tokens_ZRT.reshape(-1, batch.tokens_ZRT.shape[-1]),
        batch.segments_ZRT.reshape(-1, batch.segments_ZRT.shape[-1]),
    ):
        edges = np.flatnonzero(np.diff(segments, prepend=0, append=0))
        for start, stop in itertools.pairwise(edges.tolist()):
            if segments[start]:
                found.append(int(words.decode(row[start:stop].tolist()).split()[0]))
    return found


def test_no_record_is_skipped_or_repeated_within_an_epoch(texts):
    """At every block's end each text was read as often as any other, or once more."""
    config = texts.config(
        sources=(Source("text"),), row_tokens=256, rows_per_batch=32, rows_per_pool=8,
        pack_window=512, block_batches=1,
    )  # fmt: skip
    config.mixture, config.steps = Mixture(weights=(1,)), 200
    opened = pipeline.open(config)
    epochs, source = 3, opened.plan.sources[0]
    rows = sum(source.rows(epoch) for epoch in range(epochs))
    steps = -(-rows // 32)
    seen, places = np.zeros(RECORDS, np.int64), collections.Counter()
    for step, batch in enumerate(opened.batches(0, steps)):
        found = numbers(batch, texts.tokenizer)
        np.add.at(seen, found, 1)
        assert seen.max() - seen.min() <= 1, step
        chunks = itertools.chain(*itertools.chain(*opened.documents_of(step)))
        places.update(document for _, document in chunks)
        assert places.total() == seen.sum()
    assert seen.min() == epochs
    assert sorted(places) == list(range(RECORDS))
    assert max(places.values()) - min(places.values()) <= 1
    # Numbers and contents are the same documents.
    read = functools.partial(opened.document, 0)
    for number in range(0, RECORDS, 1999):
        assert places[number] == seen[int(read(number).segments[0].text.split()[0])]
