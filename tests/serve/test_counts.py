"""Counts are told in Prometheus's text format."""

import re

from mmjax.serve import counts
from mmjax.serve.counts import Counts

LINE = re.compile(r'mmjax_[a-z_]+(\{status="\d+"\})? \d+(\.\d+)?(e-?\d+)?')


def test_each_metric_has_its_help_its_type_and_its_values():
    sums = Counts()
    for status, seconds in ((200, 0.5), (400, 0.25), (200, 0.25)):
        sums.request(status, seconds)
    sums.batch(3, 0.125)
    sums.answer(7, 5)
    found = counts.text(sums, {"queue_length": ("Waiting.", 4)})
    lines = found.splitlines()
    assert found.endswith("\n")
    for line in lines:
        assert LINE.fullmatch(line) or line.startswith(("# HELP ", "# TYPE ")), line
    values = dict(line.rsplit(" ", 1) for line in lines if line[0] != "#")
    assert values['mmjax_requests_total{status="200"}'] == "2"
    assert values["mmjax_request_seconds_total"] == "1.0"
    assert values["mmjax_batched_requests_total"] == "3"
    assert values["mmjax_completion_tokens_total"] == "5"
    assert values["mmjax_queue_length"] == "4"
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert {re.sub(r"\{.*", "", name) for name in values} == set(names)
