import dataclasses
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from data_pipelines import mixture
from mmjax import config as config_lib
from mmjax import report, schedule
from mmjax.config import Mixture, WeightChange
from mmjax.evals.heldout import SourceLoss
from mmjax.evals.questions import Score
from mmjax.evaluation.results import Figure, Result

KEYS = {
    "steps", "wall_seconds", "peak_memory_bytes", "device", "parameters", "loss",
    "loss_by_source", "tokens_per_second", "images_per_second", "flops_per_second",
    "mfu", "data_wait_share", "pool_fill", "token_fill", "heldout_loss",
    "heldout_tokens", "questions", "accuracy", "baseline", "accuracy_low",
    "accuracy_high", "accuracy_images_exchanged", "mixture", "mixture_unit", "schedule",
    "delivered", "faults", "objective", "retrieval", "probe", "tasks", "final_seconds",
}  # fmt: skip


def _task(shots: int) -> Result:
    figures = {"accuracy": Figure(0.5 + shots / 10, 0.41, 0.93)}
    return Result(
        "questions.colour", shots, "accuracy", figures, 24, 0, 0, 3 * shots, {}
    )


def results(**changes) -> report.Results:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (30, 200, 30)).save(out, "JPEG")
    config = config_lib.Config(steps=40)
    found = report.Results(
        config=config,
        resolved=config_lib.to_dict(config),
        versions={"jax": "0.10.2"},
        device="2 x cpu",
        steps=40,
        parameters={"vit": 100, "connector": 20, "decoder": 300},
        total={"tokens_per_second": 8000.0, "pool_fill": 0.9, "mfu": math.nan},
        delivered={
            "captions": {"rows": 9.0, "images": 60.0},
            "interleaved": {"rows": 9.0, "images": 80.0},
            "text": {"rows": 2.0, "images": 0.0},
        },
        faults={},
        heldout={"captions": SourceLoss(30.0, 20), "text": SourceLoss(0.0, 0)},
        questions={
            "colour": Score(50, 0.96, 0.87, 0.99, 0.2, 50, 0.18),
            "cloze": Score(40, 0.7, 0.55, 0.82, 0.1, 0, None),
        },
        samples=[report.Sample(out.getvalue(), "a green square", "Green.")],
        wall_seconds=61.5,
        final_seconds=4.5,
        peak_memory_bytes=10**9,
        tasks={"questions.colour": {n: _task(n) for n in (0, 4)}},
    )
    return found._replace(**changes)


def test_the_summary_has_the_documented_keys_and_no_others():
    found = report.summary(results(), [])
    assert set(found) == KEYS
    documented = report.__doc__ or ""
    assert all(key in documented for key in KEYS)


def test_tasks_are_told_by_shots():
    found = report.summary(results(), [])["tasks"]["questions.colour"]
    assert list(found) == ["0", "4"]
    assert found["4"] == {
        "figure": "accuracy", "value": 0.9, "low": 0.41, "high": 0.93,
        "examples": 24, "dropped": 12,
    }  # fmt: skip


def test_the_files_are_there_and_hold_the_same_figures(tmp_path):
    lines = [
        {"step": 10, "loss": 5.0, "loss/captions": 4.0, "delivered/captions/rows": 9.0},
        {"step": 20, "loss": 3.0, "loss/captions": 2.0, "grad_norm": None},
        {"step": 20, "heldout_loss/captions": 1.5},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 30, "lo')
    report.write(tmp_path, results())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["loss"] == 3.0
    assert summary["loss_by_source"]["captions"] == 2.0
    assert summary["parameters"]["total"] == 420
    assert summary["heldout_loss"] == {"captions": 1.5, "text": None}
    assert summary["accuracy_images_exchanged"] == {"colour": 0.18, "cloze": None}
    assert summary["mfu"] is None
    page = (tmp_path / "report.html").read_text()
    for figure in ("96.0 %", "18.0 %", "a green square", "8.00k / s", "3.000"):
        assert figure in page
    assert {path.suffix for path in tmp_path.iterdir()} == {".jsonl", ".json", ".html"}


def test_summaries_are_strict_json_whatever_was_measured():
    odd = results(total={"pool_fill": math.inf}, heldout={"text": SourceLoss(0.0, 0)})
    json.dumps(report.summary(odd, []), allow_nan=False)


def test_delivered_row_shares_add_up_to_one():
    delivered = report.summary(results(), [])["delivered"]
    assert delivered["captions"]["row_share"] == pytest.approx(0.45)
    assert sum(d["row_share"] for d in delivered.values()) == pytest.approx(1)


def test_expected_rows_follow_the_schedule_step_by_step():
    config = config_lib.Config(
        mixture=Mixture(
            (45, 45, 10), (WeightChange(7, (1, 1, 0)), WeightChange(20, (0, 0, 5)))
        )
    )
    config = dataclasses.replace(config, data=config_lib.Data(rows_per_batch=16))
    for steps in (0, 1, 7, 8, 20, 33):
        rows = np.zeros(3)
        for step in range(steps):
            weights = np.array([45, 45, 10])
            weights = np.array([1, 1, 0]) if step >= 7 else weights
            weights = np.array([0, 0, 5]) if step >= 20 else weights
            rows += 16 * weights / weights.sum()
        found = schedule.expected_rows(config, steps)
        assert list(found) == ["captions", "interleaved", "text"]
        assert list(found.values()) == pytest.approx(rows.tolist())


def test_what_the_mixture_deals_is_within_a_row_of_what_the_report_expects():
    config = config_lib.Config(
        mixture=Mixture((45, 45, 10), (WeightChange(5, (1, 2, 4)),)),
        data=config_lib.Data(rows_per_batch=16),
    )
    dealt = mixture.Mixture(
        config.mixture.weights, config.mixture.schedule, config.data.rows_per_batch
    )
    for steps in range(0, 40):
        expected = list(schedule.expected_rows(config, steps).values())
        assert np.abs(dealt.counts(16 * steps) - expected).max() < 1
