import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mmjax import charts


def some_lines() -> list[charts.Line]:
    steps = range(10, 401, 10)
    return [
        charts.Line("a", steps, [6 / s for s in steps], charts.source_colour(0)),
        charts.Line("all", steps, [9 / s for s in steps]),
        charts.Line("b", [100, 300], [2.0, 1.0], charts.source_colour(1), True),
    ]


def test_every_colour_and_font_comes_from_the_page():
    svg = charts.draw("Loss", some_lines())
    assert not re.search(r"(fill|stroke): #", svg)
    assert "font-family" not in svg
    assert "<style" not in svg
    for variable in ("--ink-soft", "--line", "--ink)", "--s1", "--s2"):
        assert f"var({variable}" in svg


def test_a_drawing_is_well_formed_and_escapes_its_title():
    root = ET.fromstring(charts.draw('Loss <of "a" & b>', some_lines()))
    assert root.attrib["aria-label"] == 'Loss <of "a" & b>'
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib


def test_two_drawings_of_a_page_share_no_id_and_each_is_the_same_every_time():
    first = charts.draw("Loss", some_lines())
    second = charts.draw("Rate", some_lines())
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert first == charts.draw("Loss", some_lines())


def test_a_line_of_a_single_point_is_a_visible_mark():
    line = charts.Line("a", [10], [1.0], charts.source_colour(2))
    assert "<use" in charts.draw("Loss", [line])


def test_thinning_keeps_the_mean_and_the_last_step():
    rng = np.random.default_rng(0)
    values = rng.random(4000)
    steps, means = charts.thin(range(1, 4001), values, 100)
    assert len(steps) == len(means) == 100
    assert steps[-1] == 4000
    assert means.mean() == pytest.approx(values.mean())


def test_few_points_are_left_as_they_are():
    steps, values = charts.thin([1, 5, 9], [3.0, 1.0, 2.0])
    assert steps.tolist() == [1, 5, 9]
    assert values.tolist() == [3.0, 1.0, 2.0]
    assert charts.thin([], [])[0].size == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (400, "400"), (2000, "2k"), (1.5e6, "1.5M"), (3e9, "3G")],
)
def test_axes_write_round_numbers_shortly(value, text):
    assert charts.short(value) == text
