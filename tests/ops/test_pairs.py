"""Which images and texts are pairs, and texts as if they stood alone."""

import jax.numpy as jnp
import numpy as np
import pair_samples

from mmjax.ops import pairs


def found(rows, slots, **changes):
    batch = pair_samples.batch(rows, 16, slots)
    batch = batch._replace(**{k: f(batch) for k, f in changes.items()})
    return pairs.find(pair_samples.device_batch(batch), 2)


def test_a_document_of_one_image_and_text_is_a_pair_wherever_the_image_stands():
    rows = [[[1, "slot 0", 5, 6], [1, 7, "slot 1", 8, 9]], [[1, 5, 6, "slot 2"]]]
    made = found(rows, 4)
    assert made.valid_ZC.tolist() == [[True, True, True, False]]
    assert made.row_ZC[0, :3].tolist() == [0, 0, 1]
    # BOS <0> <0> 5 6 | BOS 7 <1> <1> 8 9 ; BOS 5 6 <2> <2>
    assert made.last_ZC[0, :3].tolist() == [4, 10, 2]


def test_other_documents_are_no_pairs():
    rows = [
        [[1, "slot 0", 5, "slot 1"], [1, "slot 2"], [1, 5, 6]],
        [[1, "slot 3", 5], [1, "slot 4", 5], [1, "slot 5", 5]],
    ]
    made = found(rows, 8)  # two images; no text; then three pairs
    assert made.valid_ZC[0].tolist() == [False] * 3 + [True] * 3 + [False] * 2

    def masked(batch):
        return batch.loss_mask_ZRT & (batch.segments_ZRT != 2)

    def empty(batch):
        return batch.real_ZC & (np.arange(8) != 5)

    made = found(rows, 8, loss_mask_ZRT=masked, real_ZC=empty)
    assert made.valid_ZC[0].tolist() == [False] * 3 + [True] + [False] * 4


def test_texts_stand_as_if_their_documents_had_no_image():
    rows = [[[1, "slot 0", 5, 6], [1, 7, "slot 1", 8], [1, 9]]]
    batch = pair_samples.device_batch(pair_samples.batch(rows, 16, 2))
    made = pairs.texts(batch.segments_ZRT, batch.positions_ZRT, batch.images_ZRT)
    text_T = (batch.images_ZRT[0, 0] < 0) & (batch.segments_ZRT[0, 0] > 0)
    segments_T, positions_T = (np.asarray(x)[0, 0] for x in made)
    assert positions_T[text_T].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert segments_T[text_T].tolist() == [1, 1, 1, 2, 2, 2, 3, 3]
    assert set(segments_T[batch.images_ZRT[0, 0] >= 0]) == {pairs.APART}
    assert (segments_T[batch.segments_ZRT[0, 0] == 0] == 0).all()


def test_a_slot_has_the_source_of_its_document():
    rows = [[[1, "slot 1", 5]], [[1, "slot 0", 5], [1, "slot 2", 6]]]
    batch = pair_samples.batch(rows, 10, 4)
    sources = np.zeros((1, 2, 10), np.int32)
    sources[0, 0], sources[0, 1, 4:] = 2, 1
    made = pairs.slot_sources(jnp.asarray(batch.images_ZRT), jnp.asarray(sources), 4, 2)
    assert made.tolist() == [[0, 2, 1, 0]]
