"""Pictures of a step: what is drawn is what was replayed."""

import re

import estimate_samples
import html_pages
import pytest

from mmjax.estimate import drawing, page, parts


@pytest.fixture(scope="module")
def played():
    return estimate_samples.played()


def test_shares_over_time_are_whole_and_add_up_to_the_kinds(played):
    bins = 50
    shares = drawing.shares_over_time(played, bins)
    assert all(sum(each.values()) == pytest.approx(1) for each in shares)
    for kind, seconds in parts.by_kind(played.events).items():
        drawn = sum(each.get(kind, 0) for each in shares) * played.seconds / bins
        assert drawn == pytest.approx(seconds)


def test_a_loops_steady_part_is_alike_throughout(played):
    bins = 50
    (repeat,) = played.repeats
    width = played.seconds / bins
    inside = [
        each
        for place, each in enumerate(drawing.shares_over_time(played, bins))
        if place * width >= repeat.start and (place + 1) * width <= repeat.end
    ]
    assert len(inside) > 20
    assert all(each == pytest.approx(inside[0]) for each in inside)


def test_a_loop_is_drawn_with_all_engines_in_use(played):
    (loop,) = drawing.loops(played)
    assert loop.title == "decoder backward" or loop.title == "decoder forward"
    assert loop.engines == ["core", "links"]
    assert "one of 5 passes" in loop.note
    colours = re.findall(r'fill="([^"]*)"', loop.svg)
    assert colours.count(drawing.BESIDE) == 1  # the gather
    assert colours.count(drawing.COLOURS["matmul"]) == 3


def rendered(**more):
    return page.render(estimate_samples.predicted(**more), "mm1_3b")


def test_the_page_is_whole_and_says_that_it_is_a_prediction():
    text = rendered(price_per_chip_hour=2.5)
    read = html_pages.read(text)
    assert "not a measurement" in read.text
    assert "mm1_3b on v5p:4x4x4" in read.text
    assert "Price" in read.text
    assert "Price" not in html_pages.read(rendered()).text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)


@pytest.mark.parametrize("name", ["missing/page.html", ""])
def test_a_page_that_cant_be_written_is_refused_before_the_work(tmp_path, name):
    path = str(tmp_path / name)
    with pytest.raises(ValueError, match="--page="):
        page.check(path)
    page.check("")


@pytest.mark.extra
@pytest.mark.parametrize("width", [360, 900, 1280])
def test_a_browser_shows_the_page_without_scrolling_sideways(width, tmp_path):
    beyond, height = html_pages.shown(
        rendered(price_per_chip_hour=2.5), width, tmp_path
    )
    assert beyond <= 0
    assert height > 1500
