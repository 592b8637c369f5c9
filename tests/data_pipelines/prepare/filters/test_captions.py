"""Captions: what says nothing about an image goes, what people write stays."""

import json

import pytest

from data_pipelines.prepare.filters import captions


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("A dog runs over the grass.", ""),
        ("Photo of 3 cats", ""),
        ("State-of-the-art kitchen", ""),
        ("\u72ac\u304c\u8349\u306e\u4e0a\u3092\u8d70\u308b", ""),
        ("Untitled", "caption_words"),
        ("Two dogs", "caption_words"),
        ("dog " * 3 + "cat " * 300, "caption_words"),
        ("a b", "caption_characters"),
        (" ", "caption_characters"),
        ("IMG_2031", "caption_file_name"),
        ("DSC 0042 copy", "caption_file_name"),
        ("Screenshot 2020-01-01 at 10.00.00", "caption_file_name"),
        ("image 1 of 12", "caption_file_name"),
        ("my holiday photo.JPG", "caption_file_name"),
        ("red-summer-dress-front", "caption_file_name"),
        ("https://example.com/a/b", "caption_file_name"),
        ("tel 555 0123 4567 89", "caption_digits"),
        ("sale sale sale now", "caption_repeated_word"),
    ],
)
def test_captions_are_kept_or_dropped_for_a_reason(caption, reason):
    found = captions.problem(caption)
    assert (found.reason if found else "") == reason


def test_limits_are_the_users():
    assert captions.problem("Two dogs", captions.Rules(min_words=2)) is None
    assert captions.problem("A dog.", captions.Rules(min_words=2)) is None
    found = captions.problem("A dog runs.", captions.Rules(max_words=2))
    assert found == ("caption_words", "3, must be 3 to 2")


def test_captions_that_people_wrote_stay(real_data):
    with open(real_data / "captions/flickr8k_1000/captions.jsonl") as lines:
        written = [text for line in lines for text in json.loads(line)["captions"]]
    dropped = [text for text in written if captions.problem(text)]
    assert len(written) == 5000
    assert dropped == ["Two skateboarders ."]
