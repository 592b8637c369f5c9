import pytest

from mmjax.evals.scorers import stems

PAIRS = [
    ("riding horses", "ride hors"),
    ("horse riding", "hors ride"),
    ("riding", "ride"),
    ("hamburgers", "hamburg"),
    ("firefighters", "firefight"),
    ("race", "race"),
    ("berry", "berry"),
    ("two words", "one"),  # can't be aligned: teaches nothing
]


@pytest.mark.parametrize(
    ("said", "stem"),
    [
        ("Riding a horse", "ride a hors"),
        ("hamburgers", "hamburg"),
        ("racing", "race"),  # an -ing form of a word of the file
        ("races", "race"),
        ("berries", "berry"),
        ("glass", "glass"),
        ("words", "words"),  # nobody's word: it stays
    ],
)
def test_a_prediction_gets_the_stem_that_the_official_file_has_for_its_words(
    said, stem
):
    assert stems.stem(said, stems.learn(PAIRS)) == stem


def test_the_commonest_stem_of_a_word_wins():
    pairs = [("left", "left"), ("left", "leav"), ("Left", "leav")]
    assert stems.learn(pairs) == {"left": "leav"}
