"""CIDEr-D, which coco-caption calls CIDEr (Vedantam et al. 2015, sections 3 and 5)."""

import numpy as np

from mmjax.evals.scorers import ngrams

SIGMA = 6.0  # of the Gaussian of the difference in length, words


def cider(table: ngrams.Table) -> np.ndarray:
    """The score of each image, [images], at most 10; the corpus score is their mean.

    Document frequencies are counted over the given references: the score of an image
    depends on the set it is scored in, and in a set of one image it is 0.
    """
    weight = table.times * _idf(table)[table.ngram]
    norm = np.sqrt(table.by_order(np.arange(len(weight)), weight**2))
    theirs, mine = ngrams.shared(table)
    clipped = np.minimum(weight[mine], weight[theirs]) * weight[theirs]
    dot = table.by_order(theirs, clipped)[table.images :]
    of = table.image[table.images :]
    scale = norm[of] * norm[table.images :]
    cosine = np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0)
    # The official length counts bigrams: captions of one word and of none are alike.
    length = np.maximum(0, table.words - 1)
    apart = length[of] - length[table.images :]
    score = cosine.mean(1) * np.exp(-(apart**2) / (2 * SIGMA**2))
    references = np.bincount(of, minlength=table.images)
    return 10.0 * np.bincount(of, score, table.images) / references


def _idf(table: ngrams.Table) -> np.ndarray:
    """Log of images by images whose references have it, of each n-gram."""
    size = len(table.order)
    of_references = table.caption >= table.images
    key = table.image[table.caption] * size + table.ngram
    seen = np.unique(key[of_references]) % max(1, size)
    frequency = np.bincount(seen, minlength=size)
    return np.log(max(1, table.images)) - np.log(np.maximum(1, frequency))
