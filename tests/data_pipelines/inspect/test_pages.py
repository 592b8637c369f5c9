"""Pages need nothing from outside, and fit a narrow and a wide window."""

import pathlib
import re

import html_pages
import numpy as np
import pytest
import small_world

from data_pipelines import pipeline
from data_pipelines.inspect import (
    folders,
    pages,
    rows,
    rows_page,
    stats,
    stats_page,
    tables,
)  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, str]:
    """A page of statistics and one of rows."""
    world = small_world.make(tmp_path_factory.mktemp("a-name-that-is-long" * 3))
    found = [
        stats.measure(world.root, name, world.tokenizer, 9)
        for name in folders.find(world.root)
    ]
    config = world.config()
    groups = list(rows.read(config, pipeline.open(config), 0, 8))
    return {
        "stats": stats_page.render(world.root, found, world.tokenizer),
        "rows": rows_page.render("name" * 30, config, groups),
    }


@pytest.mark.parametrize("name", ["stats", "rows"])
def test_pages_are_well_formed_and_ask_for_nothing_from_outside(name, both):
    reader = html_pages.read(both[name])
    loaded = [v for k, v in reader.attributes if k in ("src", "href")]
    assert len(loaded) > 10
    assert all(value.startswith("data:image/") for value in loaded)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert "url(" not in both[name]
    assert "@import" not in both[name]


def test_the_look_is_that_of_a_runs_report():
    """One design: colours and measures that both templates name have equal values."""
    root = pathlib.Path(__file__).parents[3]
    report = (root / "mmjax/report.html.jinja").read_text()
    ours = (root / "data_pipelines/inspect/base.html.jinja").read_text()
    pattern = r"(--[\w-]+): (#\w+);"
    theirs = re.findall(pattern, report)
    assert len(theirs) > 20
    assert set(theirs) <= set(re.findall(pattern, ours))


def test_images_are_inlined_whole_or_smaller_and_broken_ones_are_not():
    pixels_hwc = np.zeros((8, 12, 3), np.uint8)
    assert pages.pixels_uri(pixels_hwc).startswith("data:image/png;base64,")
    large = np.zeros((900, 1200, 3), np.uint8)
    assert pages.pixels_uri(large).startswith("data:image/jpeg;base64,")
    assert pages.encoded_uri(b"no image") == ""


def test_numbers_are_short():
    found = [tables.compact(n) for n in (0, 950, 1234, 12_345, 999_499, 5.5e9)]
    assert found == ["0", "950", "1.23k", "12.3k", "999k", "5.50G"]
    assert tables.percent(1, 0) == "-"
    assert tables.shares({"b": 1, "a": 1, "": 2}, most=2) == (
        "none 50.0 %, a 25.0 % and 1 more"
    )


@pytest.mark.extra
@pytest.mark.parametrize("width", [360, 420, 1100])
@pytest.mark.parametrize("name", ["stats", "rows"])
def test_a_browser_shows_pages_without_scrolling_sideways(name, width, both, tmp_path):
    beyond, height = html_pages.shown(both[name], width, tmp_path)
    assert beyond <= 0
    assert height > 1000
