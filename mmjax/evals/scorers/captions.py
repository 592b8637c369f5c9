"""The figures of captioning: CIDEr-D, BLEU 1 to 4, ROUGE-L and, if wished, METEOR."""

from collections.abc import Sequence

import numpy as np

from mmjax.evals import metric
from mmjax.evals.metric import Metric
from mmjax.evals.scorers import bleu, cider, meteor, ngrams, ptb, rouge

# How captions become words. "nlg_eval" is what MM1 reports: nlg-eval cuts at blanks
# only.
TOKENIZERS = {"ptb": ptb.tokenize, "nlg_eval": str.split}


def score(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: str = "ptb",
) -> dict[str, Metric]:
    """CIDEr, BLEU_1 to BLEU_4 and ROUGE_L of captions as they were written, 0 to 1.

    (CIDEr reaches 10; papers print all of them times 100.) One candidate an image, and
    at least one reference; ValueError names the image otherwise.
    """
    return of_tokens(*tokens(candidates, references, tokenizer))


def tokens(
    candidates: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str
) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Captions cut into words."""
    words = TOKENIZERS[tokenizer]
    return (
        [words(caption) for caption in candidates],
        [[words(caption) for caption in refs] for refs in references],
    )


def of_tokens(
    candidates: Sequence[ngrams.Tokens], references: Sequence[Sequence[ngrams.Tokens]]
) -> dict[str, Metric]:
    """The same of captions that are already words."""
    if len(candidates) != len(references):
        raise ValueError(
            f"{len(candidates)} captions for {len(references)} images: one each is due"
        )
    bare = next((i for i, refs in enumerate(references) if not refs), None)
    if bare is not None:
        raise ValueError(
            f"image {bare} has no reference captions: at least one is needed"
        )
    table = ngrams.table(candidates, references)
    return {
        "CIDEr": metric.mean(cider.cider(table)),
        **bleu.bleu(table),
        "ROUGE_L": metric.mean(rouge.rouge_l(candidates, references)),
    }


def with_meteor(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Metric]:
    """All figures, METEOR too; ValueError says what METEOR lacks here.

    METEOR's corpus score is one of summed statistics that its program keeps to itself:
    it is one unit, without an interval.
    """
    words = tokens(candidates, references, "ptb")
    corpus, _ = meteor.meteor(*words)
    whole = Metric(np.array([[corpus, 1.0]]), metric.ratio)
    return {**of_tokens(*words), "METEOR": whole}
