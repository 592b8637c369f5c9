import functools
import math

import jax
import numpy as np
import pytest
import uncached

from mmjax import config, sharding
from mmjax.batch import NEWLINE, NO_IMAGE, Batch
from mmjax.evals import questions
from mmjax.models import vlm
from mmjax.ops import cross_entropy

Q, SIDE, VOCAB, ROW = 4, 8, 40, 48


MODEL = config.Model(
    vit=config.ViT(SIDE, 4, 16, 1, 2, 32, remat="none"),
    connector=config.Connector(tokens=Q, heads=2),
    decoder=config.Decoder(VOCAB, 32, 2, 4, 2, 8, 48, remat="none"),
    dtype="float32",
    attention_block=64,
)


@functools.cache
def tiny() -> tuple[vlm.Model, dict]:
    model = vlm.build(MODEL)
    params = jax.jit(model.init)(jax.random.key(0))
    return model, jax.tree.map(lambda x: 4.0 * x, params)


@jax.jit
def eval_step(params, batch: Batch) -> cross_entropy.TokenLoss:
    outputs = tiny()[0].apply(params, batch)
    targets = jax.numpy.asarray(batch.targets_ZRT)
    return cross_entropy.chunked(*outputs[:2], targets, ROW)


def empty(groups: int, rows: int, slots: int) -> Batch:
    zero = np.zeros((groups, rows, ROW), np.int32)
    return Batch(
        zero, zero.copy(), zero > 0, zero.copy(), zero.copy(), zero + NO_IMAGE,
        zero.copy(), np.zeros((groups, slots, SIDE, SIDE, 3), np.uint8),
        np.zeros((groups, slots), bool), np.zeros((groups, slots, 0), np.int32),
    )  # fmt: skip


def place(
    batch: Batch, z: int, r: int, segment: int, at: int, parts: list, slot: int
) -> tuple[int, int]:
    """Writes a document; parts are images (arrays) and lists of (token, counts).

    Returns the position and the slot after it.
    """
    stream = [(1, False, NO_IMAGE)]
    for part in parts:
        if isinstance(part, np.ndarray):
            batch.pixels_ZChwc[z, slot] = part
            batch.real_ZC[z, slot] = True
            stream += [(3, False, slot * Q + i) for i in range(Q)]
            slot += 1
        else:
            stream += [(token, counts, NO_IMAGE) for token, counts in part]
    for i in range(len(stream) - 1):
        batch.tokens_ZRT[z, r, at + i] = stream[i][0]
        batch.images_ZRT[z, r, at + i] = stream[i][2]
        batch.targets_ZRT[z, r, at + i] = stream[i + 1][0]
        batch.loss_mask_ZRT[z, r, at + i] = stream[i + 1][1]
        batch.segments_ZRT[z, r, at + i] = segment
        batch.positions_ZRT[z, r, at + i] = i
    return at + len(stream) - 1, slot


def counted(tokens: list[int]) -> list[tuple[int, bool]]:
    return [(token, True) for token in tokens]


def prompt_of(rng: np.random.Generator) -> list:
    image = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    words = rng.integers(4, VOCAB, rng.integers(2, 5))
    return [image, [(int(word), False) for word in words]]


def greedy_answers(prompts: list[list], new: int) -> list[list[int]]:
    """What the model says after each prompt, decoded one document a row."""
    batch = empty(1, len(prompts), len(prompts))
    lengths = []
    for row, parts in enumerate(prompts):
        # One token more, so that the prompt's last one is an input as well.
        length, _ = place(batch, 0, row, 1, 0, [*parts, [(0, False)]], row)
        lengths.append(length)
    return uncached.greedy(MODEL, tiny()[1], batch, lengths, new)


def packed(documents: list[list]) -> tuple[Batch, list]:
    """Documents in two groups of two rows, two a row; document i is (0, i)."""
    batch = empty(2, 2, 6)
    where = [[[], []], [[], []]]
    for z in range(2):
        slot = 0
        for r in range(2):
            at = 0
            for segment in (1, 2):
                number = 4 * z + 2 * r + segment - 1
                parts = documents[number]
                at, slot = place(batch, z, r, segment, at, parts, slot)
                where[z][r].append((0, number))
    return batch, where


def test_right_under_teacher_forcing_is_exactly_what_greedy_decoding_answers():
    rng = np.random.default_rng(0)
    prompts = [prompt_of(rng) for _ in range(8)]
    greedy = greedy_answers(prompts, 3)
    asked = [list(answer) for answer in greedy]
    for i, place_wrong in ((1, 0), (3, 1), (4, 2), (6, 0)):
        asked[i][place_wrong] = (asked[i][place_wrong] + 1) % VOCAB
    documents = [[*p, counted(a)] for p, a in zip(prompts, asked)]
    found = questions.evaluate(
        eval_step, tiny()[1], [packed(documents)], lambda _, number: str(number), Q
    )
    right = [found[str(i)].accuracy == 1.0 for i in range(8)]
    assert right == [asked[i] == greedy[i] for i in range(8)]
    assert sum(right) == 4


def test_exchanged_accuracy_is_that_of_the_same_questions_about_other_images():
    rng = np.random.default_rng(1)
    prompts = [prompt_of(rng) for _ in range(8)]
    other = [prompts[4 * z + (i + 2) % 4][0] for z in range(2) for i in range(4)]
    answers = greedy_answers([[o, p[1]] for o, p in zip(other, prompts)], 2)
    documents = [[*p, counted(a)] for p, a in zip(prompts, answers)]
    found = questions.evaluate(
        eval_step, tiny()[1], [packed(documents)], lambda *_: "colour", Q
    )["colour"]
    assert found.questions == found.exchanged_questions == 8
    assert found.exchanged_accuracy == 1.0
    assert found.accuracy < 1.0


def test_every_image_is_exchanged_for_one_of_another_document():
    pixels_ZChwc = np.zeros((2, 8, 2, 2, 3), np.uint8)
    pixels_ZChwc += np.arange(1, 9, dtype=np.uint8)[None, :, None, None, None]
    real_ZC = np.arange(8) < np.array([[6], [5]])
    other_ZChwc, changed_ZC = questions.exchange(
        jax.numpy.asarray(pixels_ZChwc), jax.numpy.asarray(real_ZC)
    )
    assert np.asarray(other_ZChwc)[:, :, 0, 0, 0].tolist() == [
        [4, 5, 6, 1, 2, 3, 7, 8],
        [3, 4, 5, 1, 2, 6, 7, 8],
    ]
    np.testing.assert_array_equal(changed_ZC, real_ZC)


def test_an_image_alone_in_its_group_or_equal_to_its_substitute_counts_as_unchanged():
    pixels_ZChwc = np.zeros((2, 4, 2, 2, 3), np.uint8)
    pixels_ZChwc[1, 1] = 9
    real_ZC = np.array([[True, False, False, False], [True, True, True, True]])
    _, changed_ZC = questions.exchange(
        jax.numpy.asarray(pixels_ZChwc), jax.numpy.asarray(real_ZC)
    )
    assert np.asarray(changed_ZC).tolist() == [
        [False] * 4,
        [False, True, False, True],
    ]


def test_crops_count_as_changed_only_where_none_of_their_own_image_can_stand():
    """Images of at most 3 crops: 5 slots move by 2, 6 by 3, 7 by 3 (or 4 back)."""
    pixels_ZChwc = np.zeros((3, 8, 2, 2, 3), np.uint8)
    pixels_ZChwc += np.arange(1, 9, dtype=np.uint8)[None, :, None, None, None]
    real_ZC = np.arange(8) < np.array([[5], [6], [7]])
    arrays = jax.numpy.asarray(pixels_ZChwc), jax.numpy.asarray(real_ZC)
    _, changed_ZC = questions.exchange(*arrays, 3)
    expected = real_ZC & np.array([[False], [True], [True]])
    np.testing.assert_array_equal(changed_ZC, expected)
    np.testing.assert_array_equal(questions.exchange(*arrays)[1], real_ZC)


def test_images_spread_over_8_devices_are_exchanged_alike_and_stay_spread():
    rng = np.random.default_rng(3)
    pixels_ZChwc = rng.integers(0, 255, (2, 8, 4, 4, 3)).astype(np.uint8)
    real_ZC = np.arange(8) < np.array([[7], [4]])
    batch = empty(2, 2, 8)._replace(pixels_ZChwc=pixels_ZChwc, real_ZC=real_ZC)
    mesh = sharding.make_mesh(config.Mesh(2, 2, 2))
    spread = jax.device_put(batch, sharding.batch_shardings(mesh))
    found = questions.exchanged(spread)
    expected = questions.exchanged(batch)
    np.testing.assert_array_equal(found[0].pixels_ZChwc, expected[0].pixels_ZChwc)
    np.testing.assert_array_equal(found[1], expected[1])
    layout = found[0].pixels_ZChwc.sharding
    assert layout.is_equivalent_to(spread.pixels_ZChwc.sharding, 5)


def test_the_baseline_is_the_share_of_the_most_common_whole_answer():
    replies = [
        questions.Reply(answer, right, False, 1, 1)
        for answer, right in (((7, 2), True), ((7, 2), False), ((7, 3), True))
    ]
    found = questions.score([*replies, questions.Reply((8, 2), False, True, 1, 0)])
    assert found.questions == 4
    assert found.accuracy == 0.5
    assert found.baseline == 0.5
    assert found.exchanged_questions == 3
    assert found.exchanged_accuracy == 0.0


def test_questions_without_images_have_no_exchanged_accuracy():
    found = questions.score([questions.Reply((7, 2), True, True, 0, 0)])
    assert found.exchanged_accuracy is None
    assert found.accuracy == 1.0


def test_a_document_without_counted_tokens_is_left_out_and_a_split_one_is_one():
    rng = np.random.default_rng(2)
    text = [(int(t), True) for t in rng.integers(4, VOCAB, 3)]
    batch = empty(1, 3, 1)
    place(batch, 0, 0, 1, 0, [[(5, False), (6, False)]], 0)
    place(batch, 0, 1, 1, 0, [text], 0)
    place(batch, 0, 2, 1, 0, [text], 0)
    where = [[[(0, 0)], [(1, 1)], [(1, 1)]]]
    found = questions.evaluate(
        eval_step, tiny()[1], [(batch, where)], lambda source, _: f"kind {source}", Q
    )
    assert list(found) == ["kind 1"]
    assert found["kind 1"].questions == 1


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (45, 50), (1, 300)])
def test_wilsons_interval_ends_where_the_share_is_two_deviations_away(right, count):
    for bound, side in zip(questions.wilson(right, count), (-1, 1)):
        deviation = math.sqrt(bound * (1 - bound) / count)
        assert bound - right / count == pytest.approx(side * 1.96 * deviation, abs=1e-9)
    assert questions.wilson(0, 10)[0] == 0.0


def test_the_ends_of_rows_of_tiles_are_images_of_no_slot():
    images = np.array([[[NO_IMAGE, Q, 2 * Q - 1, NEWLINE, 2 * Q, NEWLINE, NO_IMAGE]]])
    ones, changed = np.ones_like(images), np.array([[False, True, False, True]])
    seen = questions._Seen(ones > 0, ones > 0, changed, ones > 0, ones, images, ones)
    reply = questions._reply(seen, 0, 0, 1, Q)
    assert (reply.images, reply.changed) == (2, 1)
