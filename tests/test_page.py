import base64
import io
import re

import html_pages
import pytest
from PIL import Image

from mmjax import page

KINDS = {"colour": 0.95, "yes_no": 0.7, "cloze": 0.8}


def picture(width: int = 64, height: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, "JPEG")
    return out.getvalue()


def summary() -> dict:
    sources = {"captions": 0.45, "interleaved": 0.45, "text": 0.1}
    return {
        "steps": 400,
        "objective": "next_token",
        "retrieval": None,
        "probe": {},
        "tasks": {
            "questions.colour_of_several": {
                shots: {"figure": "accuracy", "value": value, "low": 0.25, "high": 0.75,
                        "examples": 24, "dropped": 0}
                for shots, value in (("0", 0.5), ("4", 0.625))
            },
        },
        "wall_seconds": 342.0,
        "peak_memory_bytes": 1_430_000_000,
        "device": "2 x cpu",
        "parameters": {"vit": 890_000, "decoder": 1_600_000, "total": 2_490_000},
        "loss": 1.1,
        "tokens_per_second": 8310.0,
        "images_per_second": 191.0,
        "flops_per_second": 6.1e10,
        "mfu": None,
        "data_wait_share": 0.01,
        "pool_fill": 0.957,
        "token_fill": 0.987,
        "heldout_loss": {"captions": 1.0, "interleaved": 2.0, "text": None},
        "heldout_tokens": {"captions": 300, "interleaved": 100, "text": 0},
        "questions": dict.fromkeys(KINDS, 200),
        "accuracy": KINDS,
        "accuracy_low": {kind: share - 0.04 for kind, share in KINDS.items()},
        "accuracy_high": {kind: share + 0.04 for kind, share in KINDS.items()},
        "baseline": dict.fromkeys(KINDS, 0.3),
        "accuracy_images_exchanged": {"colour": 0.2, "yes_no": 0.5, "cloze": None},
        "mixture_unit": "row", "schedule": [[0, [45, 45, 10]]],
        "mixture": sources,
        "faults": {},
        "delivered": {
            source: {
                "rows": 6400 * share, "row_share": share, "documents": 9000.0,
                "images": 0.0 if source == "text" else 51_000.0, "epochs": 1.25,
                "text_tokens": 800_000.0,
            }
            for source, share in sources.items()
        },
    }  # fmt: skip


def records() -> list[dict]:
    found: list[dict] = []
    for step in range(10, 401, 10):
        found.append({"step": step, "loss": 60 / step, "learning_rate": 1e-3})
        found[-1] |= {"pool_fill": 0.95, "tokens_per_second": None, "grad_norm": 1.0}
        found[-1] |= {"loss/captions": 50 / step, "loss/text": 70 / step}
    return [*found, {"step": 400, "heldout_loss/captions": 0.2}]


def rendered(**changes) -> str:
    inputs = {
        "name": "run-1",
        "summary": summary(),
        "records": records(),
        "excess": {"captions": [(10, 0.2), (20, -0.4)]},
        "samples": [{"image": picture(), "caption": "a ball", "reference": "a toy"}],
        "config": {"steps": 400, "data": {"sources": [{"name": "captions"}]}},
        "versions": {"jax": "0.10.2"},
    }
    return page.render(**inputs | changes)


def test_the_page_is_well_formed_and_asks_for_nothing_from_outside():
    text = rendered()
    reader = html_pages.read(text)
    loaded = [v for k, v in reader.attributes if k in ("src", "href")]
    assert loaded
    assert all(value.startswith(("data:image/", "#")) for value in loaded)
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text


def test_text_of_models_documents_and_configs_is_never_markup():
    evil = "<script>alert(1)</script>"
    reader = html_pages.read(
        rendered(
            name=evil,
            samples=[{"image": picture(), "caption": evil, "reference": evil}],
            config={"note": evil},
            versions={"jax": evil},
        )
    )
    assert "script" not in reader.tags
    assert reader.text.count(evil) == 6  # the name stands in the title as well


def test_every_figure_of_a_question_stands_beside_its_baseline():
    text = "".join(html_pages.read(rendered()).text.split())
    assert "colouraccuracy95.0%mostcommon30.0%exchanged20.0%questions200" in text
    assert "yesnoaccuracy70.0%mostcommon30.0%exchanged50.0%questions200" in text


def test_tasks_stand_with_their_shots_and_intervals():
    html = rendered()
    for text in ("colour of several", "4 shots", "0.625", "(0.25 to 0.75)"):
        assert text in html


def test_tasks_that_lack_some_shots_or_all_keep_their_columns():
    whole = summary()["tasks"]["questions.colour_of_several"]
    tasks = {"questions.none": {}, "questions.four": {"4": whole["4"]}, "all": whole}
    html = rendered(summary=summary() | {"tasks": tasks})
    text = "".join(html_pages.read(html).text.split())
    dash = "\N{EN DASH}"
    assert (
        f"task0shots4shotsquestionsnone{dash}{dash}0four{dash}0.625(0.25to0.75)24"
        in text
    )


def test_a_run_that_measured_nothing_still_has_a_page():
    nothing = {"questions": {}, "heldout_loss": {}, "heldout_tokens": {}}
    bare = summary() | nothing | {"delivered": {}}
    bare |= dict.fromkeys(
        ("loss", "mfu", "tokens_per_second", "images_per_second", "flops_per_second",
         "pool_fill", "token_fill", "data_wait_share")
    )  # fmt: skip
    reader = html_pages.read(rendered(summary=bare, records=[], excess={}, samples=[]))
    assert "svg" not in reader.tags
    assert "Questions" not in reader.text
    assert "2.49M parameters" in " ".join(reader.text.split())


def test_the_heldout_tile_weighs_sources_by_their_tokens():
    figures = {label: figure for label, figure, _ in page.tiles(summary())}
    assert figures["Held-out loss"] == "1.250"  # (300 x 1 + 100 x 2) / 400
    assert figures["Peak memory"] == "1.43 GB"


def test_bad_documents_have_a_tile_where_there_are_some():
    assert "Bad documents" not in {label for label, *_ in page.tiles(summary())}
    bad = {"captions": {"image": 3, "not_a_record": 1}, "text": {"corrupt": 2000}}
    *_, tile = page.tiles(summary() | {"faults": bad})
    words = "captions: 3 image, captions: 1 not a record, text: 2,000 corrupt"
    assert tile == ("Bad documents", "2,004", words)


def test_mixture_bars_are_whole_and_leave_out_what_was_not_counted():
    bars = dict(page.mixture_bars(summary()))
    assert list(bars) == [
        "rows configured", "rows delivered", "documents", "images", "text tokens",
    ]  # fmt: skip
    for shares in bars.values():
        assert sum(share for _, share in shares) == pytest.approx(1)


@pytest.mark.parametrize("size", [(64, 64), (2000, 1000)])
def test_sample_images_are_inlined_with_their_proportions_and_never_large(size):
    header, data = page.data_uri(picture(*size)).split(",")
    assert header in ("data:image/png;base64", "data:image/jpeg;base64")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert max(image.size) <= page.THUMBNAIL
        assert image.width / image.height == pytest.approx(size[0] / size[1])


def test_configs_are_listed_leaf_by_leaf():
    node = {"steps": 4, "data": {"sources": [{"name": "a"}]}, "weights": [4, 5]}
    assert list(page.flatten(node)) == [
        ("steps", "4"), ("data.sources[0].name", "a"), ("weights", "[4, 5]"),
    ]  # fmt: skip


@pytest.mark.extra
@pytest.mark.parametrize("width", [360, 900, 1280])
def test_a_browser_shows_the_page_without_scrolling_sideways(width, tmp_path):
    beyond, height = html_pages.shown(rendered(name="a-name" * 12), width, tmp_path)
    assert beyond <= 0
    assert height > 1500
