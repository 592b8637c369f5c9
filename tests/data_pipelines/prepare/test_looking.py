"""A picture is looked at once: what is kept of it, or why it isn't."""

import hashlib

import PIL.Image
import pytest
import raw_corpora

from data_pipelines.prepare import looking
from data_pipelines.prepare.filters import pictures as picture_rules
from data_pipelines.prepare.looking import Seen, Unseen
from data_pipelines.prepare.raw import Picture
from data_pipelines.prepare.recipe import Recipe

DATA = raw_corpora.noise(1)
PLAIN = Recipe()


def test_a_file_and_its_bytes_are_the_same_picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(DATA)
    named = looking.look(str(tmp_path), Picture(path="a.jpg"), PLAIN)
    given = looking.look("", Picture(data=DATA, url="http://a"), PLAIN)
    assert isinstance(named, Seen)
    assert named == given
    assert named.digest == hashlib.blake2b(DATA, digest_size=16).digest()
    assert (named.image.width, named.image.height) == (120, 110)


@pytest.mark.parametrize(
    "recipe", [Recipe(near_duplicates=True), Recipe(evaluations="index")]
)
def test_a_picture_is_hashed_where_it_will_be_compared(recipe):
    found = looking.look("", Picture(data=DATA), recipe)
    smaller = looking.look("", Picture(data=DATA), recipe._replace(max_side=60))
    assert isinstance(found, Seen)
    assert isinstance(smaller, Seen)
    assert found.perceptual is not None
    assert smaller.digest == found.digest
    assert max(smaller.image.width, smaller.image.height) == 60
    plain = looking.look("", Picture(data=DATA), PLAIN)
    assert isinstance(plain, Seen)
    assert plain.perceptual is None


@pytest.mark.parametrize(
    ("picture", "reason", "detail"),
    [
        (Picture(path="no.jpg"), "missing_image", "no.jpg: "),
        (Picture(path="../a.jpg"), "image_outside_folder", "../a.jpg: not inside"),
        (Picture(url="http://a/1.jpg"), "image_not_local", "http://a/1.jpg: download"),
        (Picture(path="text.jpg"), "unreadable_image", "text.jpg: "),
    ],
)
def test_what_cant_be_seen_is_told_by_its_name(tmp_path, picture, reason, detail):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.jpg").write_bytes(DATA)
    (tmp_path / "in" / "text.jpg").write_text("no picture")
    found = looking.look(str(tmp_path / "in"), picture, PLAIN)
    assert isinstance(found, Unseen)
    assert not found.filtered
    assert found.problem.reason == reason
    assert found.problem.detail.startswith(detail)


def test_a_picture_that_a_rule_refuses_is_filtered_not_missing(tmp_path):
    PIL.Image.new("RGB", (40, 400)).save(tmp_path / "thin.png")
    recipe = Recipe(pictures=picture_rules.MM1)
    found = looking.look(str(tmp_path), Picture(path="thin.png"), recipe)
    assert isinstance(found, Unseen)
    assert found.filtered
    assert isinstance(
        looking.look(str(tmp_path), Picture(path="thin.png"), PLAIN), Seen
    )
