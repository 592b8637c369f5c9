"""Bad records and images: their positions lose the loss, and nothing else moves."""

import itertools
import logging
import pathlib
import shutil

import damage
import numpy as np
import pytest
import small_world

from data_pipelines import images, pipeline
from mmjax.batch import NO_IMAGE, Share

STEPS = 6
NAMES = ("captions", "interleaved", "text")
REASON_OF = {"fewer": "mismatch", "empty": "not_a_record"}


@pytest.fixture(scope="module")
def clean(world):
    """Batches of the undamaged corpus, and the documents in them."""
    opened = pipeline.open(world.config())
    batches = list(opened.batches(0, STEPS))
    return batches, [opened.documents_of(step) for step in range(STEPS)]


def copied(world, root, wounds):
    """A copy of the world with damaged records: {(source, document): what}."""
    root = pathlib.Path(shutil.copytree(world.root, root))
    for source, name in enumerate(NAMES):
        own = {number: what for (s, number), what in wounds.items() if s == source}
        damage.harm(root / name / "train", own)
    return world._replace(root=str(root))


def wounded(world, seed):
    """Wounds of every sort at random places."""
    rng = np.random.default_rng(seed)
    sizes = [len(world.documents[f"{name}/train"]) for name in NAMES]
    sorts = ("image", "mismatch", "fewer", "not_a_record", "empty", "corrupt")
    wounds = {}
    for what in sorts * 2:
        source = int(rng.integers(2 if what == "image" else 3))
        wounds[source, int(rng.integers(sizes[source]))] = what
    return wounds


def expected(batch, places, wounds, pad):
    """The clean batch with what wounds take from it, by a plain loop."""
    out = [array.copy() for array in batch]
    out = type(batch)(*out)
    counts = {name: {} for name in NAMES}
    for z, group in enumerate(places):
        for r, row in enumerate(group):
            for segment, place in enumerate(row, start=1):
                what = wounds.get(place)
                here = (z, r, batch.segments_ZRT[z, r] == segment)
                slots = np.unique(batch.images_ZRT[here] // 4)
                slots = slots[slots >= 0]
                if what is None or (what == "image" and not len(slots)):
                    continue
                out.loss_mask_ZRT[here] = False
                if what == "image":
                    out.pixels_ZChwc[z, slots] = images.GREY
                else:
                    out.tokens_ZRT[here] = out.targets_ZRT[here] = pad
                    out.images_ZRT[here] = NO_IMAGE
                    out.pixels_ZChwc[z, slots] = 0
                    out.real_ZC[z, slots] = False
                of_source = counts[NAMES[place[0]]]
                reason = REASON_OF.get(what, what)
                of_source[reason] = of_source.get(reason, 0) + 1
    return out, counts


@pytest.mark.parametrize(
    ("seed", "reading"),
    [
        (0, {"threads": 1, "prefetch": 1}),
        (1, {"threads": 4, "prefetch": 9}),
        (2, {"workers": 2}),
        pytest.param(3, {"workers": 4}, marks=pytest.mark.slow),
    ],
)
def test_only_bad_documents_change_and_they_keep_their_places(
    world, clean, tmp_path, seed, reading
):
    wounds = wounded(world, seed)
    config = copied(world, tmp_path / "copy", wounds).config(
        on_bad_record="mask", max_bad_share=1.0, **reading
    )
    opened = pipeline.open(config)
    pad, sums = opened.tokenizer.pad, {name: {} for name in NAMES}
    found = list(opened.batches(0, STEPS))
    assert len(found) == STEPS
    for step, (batch, before, places) in enumerate(zip(found, *clean)):
        assert opened.documents_of(step) == places
        wanted, counts = expected(before, places, wounds, pad)
        assert small_world.equal(batch, wanted)
        counts = {name: reasons for name, reasons in counts.items() if reasons}
        assert opened.faults_of(step) == counts
        for name, reasons in counts.items():
            for reason, count in reasons.items():
                sums[name][reason] = sums[name].get(reason, 0) + count
    assert opened.faults == sums
    assert sum(map(len, sums.values())) >= 4  # the test has met most sorts


@pytest.mark.parametrize("unit", ["loss_token", "document"])
def test_it_is_so_whatever_the_weights_are_shares_of(world, tmp_path, unit):
    wounds = wounded(world, 5)
    config = world.config()
    config.mixture.unit = unit
    before = pipeline.open(config)
    masking = copied(world, tmp_path / "copy", wounds).config(
        on_bad_record="mask", max_bad_share=1.0
    )
    masking.mixture.unit = unit
    after = pipeline.open(masking)
    for step, (clean, found) in enumerate(
        zip(before.batches(0, STEPS), after.batches(0, STEPS), strict=True)
    ):
        places = before.documents_of(step)
        wanted, counts = expected(clean, places, wounds, after.tokenizer.pad)
        assert small_world.equal(found, wanted)
        assert after.faults_of(step) == {n: c for n, c in counts.items() if c}


def test_shares_agree_on_what_is_bad(world, clean, tmp_path):
    """A process that holds the slots alone finds the same as that with the row."""
    wounds = wounded(world, 4)
    config = copied(world, tmp_path / "copy", wounds).config(
        on_bad_record="mask", max_bad_share=1.0
    )
    opened = pipeline.open(config)
    whole = list(opened.batches(0, 3))
    quarter = opened.capacity // 4
    for r in range(4):
        slots = (r * quarter, (r + 1) * quarter)
        share = Share((0, 2), (r, r + 1), slots)
        for part, batch in zip(opened.batches(0, 3, share), whole, strict=True):
            box = [array[:, r : r + 1] for array in batch[:7]]
            assert small_world.equal(
                part, [*box, *(array[:, slice(*slots)] for array in batch[7:])]
            )


@pytest.mark.parametrize("what", ["mismatch", "not_a_record", "corrupt"])
def test_without_the_policy_a_bad_record_stops_the_run(world, tmp_path, what):
    wounds = {(0, number): what for number in range(10)}
    opened = pipeline.open(copied(world, tmp_path / "copy", wounds).config())
    with pytest.raises(ValueError, match=r"shard-0000\d.*record \d+") as error:
        list(opened.batches(0, STEPS))
    assert "\n" not in str(error.value)


def test_a_missing_shard_is_borne_from_the_start(world, clean, tmp_path, caplog):
    copy = copied(world, tmp_path / "copy", {})
    folder = tmp_path / "copy" / "captions" / "train"
    (folder / "shard-00001-of-00003.array_record").unlink()
    with pytest.raises(ValueError, match=r"shard-00001.*missing"):
        pipeline.open(copy.config())
    with caplog.at_level(logging.WARNING, "data_pipelines"):
        opened = pipeline.open(copy.config(on_bad_record="mask", max_bad_share=1.0))
    assert "missing, but the manifest lists it: its records are bad" in caplog.text
    reader = opened._materials.corpora[0].reader
    reader._sleep = lambda seconds: None
    sizes = [info["records"] for info in reader.manifest["shards"]]
    gone = range(sizes[0], sizes[0] + sizes[1])
    wounds = {(0, number): "unreadable" for number in gone}
    for batch, before, places in zip(opened.batches(0, STEPS), *clean, strict=True):
        wanted, _ = expected(before, places, wounds, opened.tokenizer.pad)
        assert small_world.equal(batch, wanted)
    assert set(opened.faults["captions"]) == {"unreadable"}


def test_a_truncated_shard_is_borne_from_the_start(world, clean, tmp_path):
    copy = copied(world, tmp_path / "copy", {})
    path = (
        tmp_path / "copy" / "captions" / "train" / "shard-00000-of-00003.array_record"
    )
    path.write_bytes(path.read_bytes()[:1000])
    opened = pipeline.open(copy.config(on_bad_record="mask", max_bad_share=1.0))
    first = opened._materials.corpora[0].reader.manifest["shards"][0]["records"]
    wounds = {(0, number): "corrupt" for number in range(first)}
    for batch, before, places in zip(opened.batches(0, STEPS), *clean, strict=True):
        wanted, _ = expected(before, places, wounds, opened.tokenizer.pad)
        assert small_world.equal(batch, wanted)


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        ({"max_bad_share": 0.0004}, "5 of the last .* data.max_bad_share=0.0004"),
        ({"max_bad_share": 1.0, "max_bad_in_a_row": 3}, "4 bad documents in a row"),
    ],
)
def test_too_many_bad_documents_stop_the_run_at_the_same_one(
    world, tmp_path, limits, rule
):
    size = len(world.documents["captions/train"])
    wounds = {(0, number): "mismatch" for number in range(size)}
    copy = copied(world, tmp_path / "copy", wounds)
    said = set()
    for reading in ({"threads": 1, "prefetch": 1}, {"threads": 4}, {"workers": 2}):
        opened = pipeline.open(copy.config(on_bad_record="mask", **limits, **reading))
        with pytest.raises(ValueError, match=f"source captions: .*{rule}") as error:
            list(opened.batches(0, STEPS))
        said.add(str(error.value))
    (line,) = said
    assert "\n" not in line
    # The document it names is the one at which the limit is passed.
    last = 4 if "share" in rule else 3
    places = itertools.chain(*itertools.chain(*opened.documents_of(0)))
    captions = [document for source, document in places if source == 0]
    path, record = opened._materials.corpora[0].reader.place(captions[last])
    assert f"the last one is {path}: record {record} doesn't match" in line


def test_what_is_measured_is_never_masked(world, tmp_path):
    copy = world._replace(root=str(shutil.copytree(world.root, tmp_path / "copy")))
    folder = tmp_path / "copy" / "captions" / "heldout"
    damage.harm(folder, {3: "mismatch"})
    config = copy.config(on_bad_record="mask")
    opened = pipeline.open_heldout(config, ["captions/heldout"], rows=0)
    with pytest.raises(ValueError, match="record 3 has segments of"):
        list(opened.batches(0, opened.steps))
