"""Pages: how many pictures, and which were shown before."""

import pytest

from data_pipelines.prepare.filters import pages


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (1, 1), (30, 1), (31, 0)])
def test_pages_have_one_to_thirty_pictures(count, kept):
    found = pages.problem(count)
    assert (found is None) == kept
    assert found is None or found.reason == "page_pictures"
    assert pages.problem(0, pages.Rules(min_pictures=0)) is None


def test_only_the_first_appearance_on_a_page_is_kept():
    assert pages.repeats(["a", "b", "a", "c", "b", "a"]) == [2, 4, 5]
    assert pages.repeats([]) == []


def test_pictures_on_more_than_ten_pages_belong_to_none():
    assert pages.everywhere(10) is None
    assert pages.everywhere(11).reason == "image_appearances"
