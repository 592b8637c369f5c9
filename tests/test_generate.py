import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config, generate, sharding
from mmjax.batch import NO_IMAGE, Batch
from mmjax.models import vlm
from mmjax.ops import cross_entropy

Q, SIDE, VOCAB = 4, 8, 40


@functools.cache
def tiny() -> tuple[vlm.Model, dict]:
    """A random model, its weights enlarged so that it says many different things."""
    model = vlm.build(
        config.Model(
            vit=config.ViT(SIDE, 4, 16, 1, 2, 32, remat="none"),
            connector=config.Connector(tokens=Q, heads=2),
            decoder=config.Decoder(VOCAB, 32, 2, 4, 2, 8, 48, remat="none"),
            dtype="float32",
            attention_block=32,
        )
    )
    params = jax.jit(model.init)(jax.random.key(0))
    return model, jax.tree.map(lambda x: 4.0 * x, params)


def prompts(lengths: list[int], tokens: int, seed: int = 0) -> Batch:
    """A group of rows: an image (from position 1 on), then random text."""
    rng = np.random.default_rng(seed)
    rows = len(lengths)
    shape = (1, rows, tokens)
    used_ZRT = np.arange(tokens) < np.array(lengths)[None, :, None]
    images_ZRT = np.full(shape, NO_IMAGE, np.int32)
    for row in range(rows):
        if lengths[row]:
            images_ZRT[0, row, 1 : 1 + Q] = row * Q + np.arange(Q)
    zero = np.zeros(shape, np.int32)
    return Batch(
        np.where(used_ZRT, rng.integers(4, VOCAB, shape), 0).astype(np.int32),
        zero, zero > 0, used_ZRT.astype(np.int32),
        np.where(used_ZRT, np.arange(tokens), 0).astype(np.int32), images_ZRT,
        zero[..., 0], rng.integers(0, 255, (1, rows, SIDE, SIDE, 3)).astype(np.uint8),
        np.array([[n > 0 for n in lengths]]), np.zeros((1, rows, 0), np.int32),
    )  # fmt: skip


def by_hand(batch: Batch, lengths: list[int], new: int) -> list[list[int]]:
    """Greedy decoding one row and one token at a time, all logits in full."""
    model, params = tiny()
    apply = jax.jit(model.apply)
    results = []
    for row, length in enumerate(lengths):
        batch_1 = jax.tree.map(np.array, batch)
        found = []
        for place in range(length, length + new):
            outputs = apply(params, batch_1)
            logits_V = outputs.hidden_ZRTD[0, row, place - 1] @ outputs.unembed_DV
            found.append(int(np.argmax(logits_V)))
            batch_1.tokens_ZRT[0, row, place] = found[-1]
            batch_1.segments_ZRT[0, row, place] = 1
            batch_1.positions_ZRT[0, row, place] = place
        results.append(found)
    return results


def test_each_token_is_the_most_likely_one_after_all_before_it():
    lengths = [7, 12, 9]
    batch = prompts(lengths, 20)
    found = generate.greedy(*tiny(), batch, np.array([lengths]), 6, ())
    expected = by_hand(batch, lengths, 6)
    assert np.asarray(found.tokens_ZRT)[0].tolist() == expected
    assert len({token for row in expected for token in row}) > 3
    assert np.asarray(found.counts_ZR).tolist() == [[6, 6, 6]]
    assert not found.stopped_ZR.any()


def test_a_row_ends_before_its_stop_token_and_the_others_go_on():
    lengths = [7, 12, 9]
    batch = prompts(lengths, 20)
    free = by_hand(batch, lengths, 6)
    stop = (free[1][2], VOCAB - 1)
    found = generate.greedy(*tiny(), batch, np.array([lengths]), 6, stop)
    for row in range(3):
        at = [i for i, token in enumerate(free[row]) if token in stop]
        count = at[0] if at else 6
        assert int(found.counts_ZR[0, row]) == count
        assert bool(found.stopped_ZR[0, row]) == bool(at)
        kept = np.asarray(found.tokens_ZRT)[0, row].tolist()
        assert kept == free[row][:count] + [0] * (6 - count)


def test_the_image_changes_what_is_said():
    lengths = [7, 7, 7]
    batch = prompts(lengths, 20)
    batch.tokens_ZRT[0, 1] = batch.tokens_ZRT[0, 0]
    found = generate.greedy(*tiny(), batch, np.array([lengths]), 6, ())
    other = batch._replace(pixels_ZChwc=batch.pixels_ZChwc[:, [1, 0, 2]])
    swapped = generate.greedy(*tiny(), other, np.array([lengths]), 6, ())
    first, second, third = np.asarray(found.tokens_ZRT)[0].tolist()
    assert first != second
    assert np.asarray(swapped.tokens_ZRT)[0].tolist() == [second, first, third]


def test_an_empty_row_is_left_alone_and_changes_nothing():
    batch = prompts([7, 9, 5], 20)
    found = generate.greedy(*tiny(), batch, np.array([[7, 9, 5]]), 6, ())
    padded = generate.pad(batch, 1, 4, 4)
    lengths = np.array([[7, 9, 5, 0]])
    more = generate.greedy(*tiny(), padded, lengths, 6, ())
    np.testing.assert_array_equal(more.tokens_ZRT[:, :3], found.tokens_ZRT)
    assert not np.asarray(more.tokens_ZRT[:, 3:]).any()
    assert np.asarray(more.counts_ZR).tolist() == [[6, 6, 6, 0]]


def test_a_mesh_of_8_devices_says_what_one_device_says():
    lengths = np.array([[7, 9, 5]])
    batch = prompts(lengths[0].tolist(), 20)
    model, params = tiny()
    alone = generate.greedy(model, params, batch, lengths, 6, ())
    mesh = sharding.make_mesh(config.Mesh(2, 2, 2))
    padded = generate.pad(batch, 2, 2, 4)
    spread = jax.device_put(padded, sharding.batch_shardings(mesh))
    placed = jax.device_put(params, sharding.state_shardings(params, mesh))
    padded_lengths = np.array([[7, 9, 5, 0], [0, 0, 0, 0]])
    found = generate.greedy(model, placed, spread, padded_lengths, 6, (), mesh)
    np.testing.assert_array_equal(found.tokens_ZRT[:1, :3], alone.tokens_ZRT)
    assert found.tokens_ZRT.sharding.is_fully_replicated


def test_padding_adds_empty_groups_rows_and_slots_only():
    batch = prompts([7, 9, 5], 16)
    padded = generate.pad(batch, 2, 2, 4)
    assert padded.tokens_ZRT.shape == (2, 4, 16)
    assert padded.sources_ZRT.shape[:2] == (2, 4)
    assert padded.pixels_ZChwc.shape == (2, 4, SIDE, SIDE, 3)
    for name, array in padded._asdict().items():
        kept = getattr(batch, name)
        assert array.dtype == kept.dtype
        np.testing.assert_array_equal(array[:1, : kept.shape[1]], kept)
    assert (padded.images_ZRT[1] == NO_IMAGE).all()
    assert not padded.real_ZC[1].any()
    assert not padded.segments_ZRT[0, 3].any()


def test_logits_are_those_of_the_loss():
    lengths = [9, 9, 9]
    batch = prompts(lengths, 20)
    found = generate.greedy(*tiny(), batch, np.array([lengths]), 6, ())
    model, params = tiny()
    outputs = jax.jit(model.apply)(params, batch)
    targets_ZRT = np.zeros((1, 3, 20), np.int32)
    targets_ZRT[0, :, 8] = np.asarray(found.tokens_ZRT)[0, :, 0]
    loss = cross_entropy.chunked(*outputs[:2], jnp.asarray(targets_ZRT), 20)
    assert np.asarray(loss.hit_ZRT)[0, :, 8].all()


@pytest.mark.parametrize("new_tokens", [0, 8])
def test_a_row_without_room_is_refused_by_name_and_number(new_tokens):
    batch = prompts([7, 9], 16)
    with pytest.raises(ValueError, match=f"new_tokens={new_tokens}.*7 positions"):
        generate.greedy(*tiny(), batch, np.array([[7, 9]]), new_tokens, ())
