"""Recall among pairs: against sorting, with ties and repeated texts."""

import numpy as np
import pair_samples
import pytest

from mmjax.evals import retrieval
from mmjax.ops import pairs


def test_ranks_are_places_in_the_order_of_nearness(monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 3)
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 10, 4))
    found = retrieval.ranks(images, texts)
    for i in range(10):
        order = np.argsort(-(texts @ images[i]))
        assert order[found[i]] == i


def test_vectors_that_are_all_the_same_find_nothing():
    same = np.ones((8, 3))
    found = retrieval.recall(same, same)
    assert found.image_to_text == {1: 0.0, 5: 0.0}
    assert found.baseline == 1 / 8
    own = np.eye(8)
    assert retrieval.recall(own, own).text_to_image == {1: 1.0, 5: 1.0}


def test_a_text_that_occurs_again_is_left_out():
    rows = [[[1, "slot 0", 5, 6]], [[1, "slot 1", 5, 6]], [[1, "slot 2", 5]]]
    batch = pair_samples.batch(rows, 8, 4)
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 1, 4, 6))
    found = pairs.find(pair_samples.device_batch(batch), 2)

    def vectors_step(params, batch):
        return images, texts, found.valid_ZC, found

    assert retrieval.evaluate(vectors_step, None, [batch, batch]).pairs == 2
    nothing = batch._replace(loss_mask_ZRT=batch.loss_mask_ZRT & False)
    found = pairs.find(pair_samples.device_batch(nothing), 2)
    assert retrieval.evaluate(vectors_step, None, [nothing]) is None


@pytest.mark.parametrize("k", retrieval.NEAREST)
def test_recall_of_noise_is_at_chance(k):
    rng = np.random.default_rng(1)
    images, texts = rng.normal(size=(2, 1500, 16))
    found = retrieval.recall(images, texts)
    assert found.image_to_text[k] == pytest.approx(k / 1500, abs=4 * (k**0.5) / 1500)
