import collections
import math

import golden_files
import numpy as np
import pytest

from mmjax.evals.scorers import captions, meteor, ngrams, rouge

SETS = ("coco_fakecap126", "flickr8k_human500", "edge_cases")
NAMES = {
    "Bleu_1": "BLEU_1",
    "Bleu_2": "BLEU_2",
    "Bleu_3": "BLEU_3",
    "Bleu_4": "BLEU_4",
    "ROUGE_L": "ROUGE_L",
    "CIDEr": "CIDEr",
}
WORDS = [f"w{i}" for i in range(12)]


def tokenized(items) -> tuple[list, list]:
    said = [item["candidate_tok"].split() for item in items]
    true = [[text.split() for text in item["references_tok"]] for item in items]
    return said, true


def random_captions(rng, images: int = 20) -> tuple[list, list]:
    def caption() -> list[str]:
        return list(rng.choice(WORDS, rng.integers(0, 9)))

    said = [caption() for _ in range(images)]
    return said, [[caption() for _ in range(rng.integers(1, 5))] for _ in said]


@pytest.mark.parametrize("name", SETS)
def test_every_image_and_the_corpus_score_as_coco_captions_own_code(golden, name):
    content = golden_files.read(golden / f"captions/{name}.json.gz")
    found = captions.of_tokens(*tokenized(content["items"]))
    for theirs, ours in NAMES.items():
        expected = [item["scores"][theirs] for item in content["items"]]
        np.testing.assert_allclose(found[ours].each, expected, atol=1e-9)
        assert found[ours].value == pytest.approx(content["corpus"][theirs], abs=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_captions_as_written_score_the_same_without_java(golden, name):
    content = golden_files.read(golden / f"captions/{name}.json.gz")
    said = [item["candidate"] for item in content["items"]]
    true = [item["references"] for item in content["items"]]
    found = captions.score(said, true)
    for theirs, ours in NAMES.items():
        assert found[ours].value == pytest.approx(content["corpus"][theirs], abs=1e-9)


def test_words_cut_at_blanks_give_the_values_that_nlg_eval_publishes(golden):
    content = golden_files.read(golden / "nlg_eval/nlg_eval_example.json")
    true = list(zip(content["references_1"], content["references_2"]))
    found = captions.score(content["hypotheses"], true, "nlg_eval")
    for theirs, ours in NAMES.items():
        published = content["published_in_readme"][theirs]
        assert found[ours].value == pytest.approx(published, abs=6e-7)


def cider_by_the_formula(said, true) -> list[float]:
    """Loops over dictionaries, straight from the paper and the official constants."""

    def grams(words, n):
        return collections.Counter(
            tuple(words[i : i + n]) for i in range(len(words) - n + 1)
        )

    scores = []
    for mine, refs in zip(said, true):
        total = 0.0
        for n in range(1, 5):
            frequency = collections.Counter(
                g for image in true for g in {g for r in image for g in grams(r, n)}
            )

            def weigh(words, n=n, frequency=frequency):
                return {
                    g: c * (math.log(len(true)) - math.log(max(1, frequency[g])))
                    for g, c in grams(words, n).items()
                }

            for ref in refs:
                a, b = weigh(mine), weigh(ref)
                dot = sum(min(a[g], b[g]) * b[g] for g in a if g in b)
                scale = math.hypot(*a.values()) * math.hypot(*b.values())
                apart = max(0, len(mine) - 1) - max(0, len(ref) - 1)
                if scale:
                    total += dot / scale * math.exp(-(apart**2) / 72) / len(refs)
        scores.append(10 * total / 4)
    return scores


@pytest.mark.parametrize("seed", range(4))
def test_cider_is_the_papers_formula_on_random_captions(seed):
    said, true = random_captions(np.random.default_rng(seed))
    found = captions.of_tokens(said, true)["CIDEr"].each
    np.testing.assert_allclose(found, cider_by_the_formula(said, true), atol=1e-9)


def test_alone_in_its_set_an_image_has_no_cider_even_if_it_is_perfect():
    words = ["a", "dog", "runs", "fast"]
    found = captions.of_tokens([words], [[words]])
    assert found["CIDEr"].value == 0.0
    assert found["BLEU_4"].value == pytest.approx(1.0)


def test_an_empty_caption_scores_nothing_and_stops_nothing():
    said = [[], ["a", "dog"]]
    found = captions.of_tokens(said, [[["a", "cat"]], [["a", "dog"]]])
    for name, figure in found.items():
        assert figure.each[0] == 0.0, name
        assert math.isfinite(figure.value), name


def test_all_captions_empty_is_a_score_of_zero():
    found = captions.of_tokens([[], []], [[["a"]], [[]]])
    assert {figure.value for figure in found.values()} == {0.0}


def test_corpus_bleu_comes_from_summed_counts_and_is_not_a_mean(golden):
    items = golden_files.read(golden / "captions/coco_fakecap126.json.gz")["items"]
    bleu = captions.of_tokens(*tokenized(items))["BLEU_4"]
    assert abs(bleu.value - bleu.each.mean()) > 0.05


def test_the_reference_length_is_the_closest_and_of_two_the_shorter():
    said = [["a"] * 5]
    refs = [[["b"] * 7, ["b"] * 3, ["b"] * 12]]
    table = ngrams.table(said, refs)
    from mmjax.evals.scorers import bleu

    assert bleu.bleu(table)["BLEU_1"].sums[0, :2].tolist() == [5, 3]


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_common_subsequence_is_that_of_the_full_table(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        first, second = (
            list(rng.choice(WORDS[:5], rng.integers(0, 80))) for _ in range(2)
        )
        table = np.zeros((len(first) + 1, len(second) + 1), int)
        for i, a in enumerate(first, 1):
            for j, b in enumerate(second, 1):
                table[i, j] = (
                    table[i - 1, j - 1] + 1
                    if a == b
                    else max(table[i - 1, j], table[i, j - 1])
                )
        assert rouge.common_subsequence(first, second) == table[-1, -1]


def test_rouge_takes_precision_and_recall_from_different_references():
    said = ["a", "b", "c", "d"]
    refs = [["a", "b", "c", "x", "x", "x", "x", "x"], ["a"]]
    precision, recall = 3 / 4, 1.0  # of the first, of the second
    expected = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert rouge.rouge_l([said], [refs])[0] == pytest.approx(expected)


def test_an_image_without_references_or_captions_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="image 1 has no reference"):
        captions.score(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="2 captions for 1 images"):
        captions.score(["a", "b"], [["a"]])


def test_without_java_meteor_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(meteor.shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="needs Java") as found:
        captions.with_meteor(["a"], [["a"]])
    assert "\n" not in str(found.value)


def test_without_its_package_meteor_names_the_pip_command(monkeypatch):
    monkeypatch.setattr(meteor.shutil, "which", lambda _: "/usr/bin/java")
    monkeypatch.setitem(__import__("sys").modules, "pycocoevalcap", None)
    with pytest.raises(ValueError, match="pip install pycocoevalcap"):
        captions.with_meteor(["a"], [["a"]])


@pytest.mark.extra
@pytest.mark.parametrize("name", SETS)
def test_meteor_is_that_of_its_authors_program(golden, name):
    if lacking := meteor.missing():
        pytest.skip(lacking)
    content = golden_files.read(golden / f"captions/{name}.json.gz")
    corpus, each = meteor.meteor(*tokenized(content["items"]))
    assert corpus == pytest.approx(content["corpus"]["METEOR"], abs=1e-9)
    expected = [item["scores"]["METEOR"] for item in content["items"]]
    np.testing.assert_allclose(each, expected, atol=1e-9)


@pytest.mark.extra
@pytest.mark.parametrize("ends", ["at once", "by the clock"])
def test_a_program_of_meteor_that_ends_is_told_in_one_line(monkeypatch, ends):
    if lacking := meteor.missing():
        pytest.skip(lacking)
    if ends == "at once":
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:NoSuchOption")
    else:
        monkeypatch.setattr(meteor, "START_SECONDS", -1.0)
    with pytest.raises(ValueError, match="METEOR's program ended") as found:
        meteor.meteor([["a"]], [[["a"]]])
    assert "\n" not in str(found.value)


@pytest.mark.extra
def test_random_captions_score_as_pycocoevalcap_itself_scores_them():
    bleu = pytest.importorskip("pycocoevalcap.bleu.bleu")
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    rouges = pytest.importorskip("pycocoevalcap.rouge.rouge")
    rng = np.random.default_rng(5)
    said, true = random_captions(rng, 200)
    said = [words or ["w0"] for words in said]  # its ROUGE counts blanks as words
    true = [[words or ["w0"] for words in refs] for refs in true]
    gts = {i: [" ".join(words) for words in refs] for i, refs in enumerate(true)}
    res = {i: [" ".join(words)] for i, words in enumerate(said)}
    found = captions.of_tokens(said, true)
    expected = dict(
        zip(list(NAMES.values())[:4], bleu.Bleu(4).compute_score(gts, res)[0])
    )
    expected["CIDEr"] = cider.Cider().compute_score(gts, res)[0]
    expected["ROUGE_L"] = rouges.Rouge().compute_score(gts, res)[0]
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-9), name
