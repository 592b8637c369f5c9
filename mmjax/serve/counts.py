"""What the server counts, and how it is told in Prometheus's text format."""

import collections
from collections.abc import Iterator, Mapping

LEFT = 499  # the status of a request whose client left before its answer was complete


class Counts:
    """Sums since the start; all of them belong to the event loop."""

    def __init__(self) -> None:
        self.requests: collections.Counter[int] = collections.Counter()  # by status
        self.request_seconds = 0.0  # from head to last byte, of all requests
        self.waited_seconds = 0.0  # in line, of requests that were answered
        self.batches = 0
        self.batch_seconds = 0.0
        self.batched = 0  # requests in batches
        self.prompt_tokens = 0  # of complete answers
        self.completion_tokens = 0

    def request(self, status: int, seconds: float) -> None:
        self.requests[status] += 1
        self.request_seconds += seconds

    def batch(self, requests: int, seconds: float) -> None:
        self.batches += 1
        self.batched += requests
        self.batch_seconds += seconds

    def answer(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


def text(counts: Counts, gauges: Mapping[str, tuple[str, float]]) -> str:
    """All that is counted, and gauges of (help, value) by name."""
    return "".join(f"{line}\n" for line in _lines(counts, gauges))


def _lines(counts: Counts, gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
    for name, (words, value) in gauges.items():
        yield from _metric(name, "gauge", words, {"": value})
    by_status = {f'{{status="{s}"}}': n for s, n in sorted(counts.requests.items())}
    words = "Requests of chat completions that ended; status 499: the client left."
    yield from _metric("requests_total", "counter", words, by_status)
    for name, words, value in (
        ("batches_total", "Batches answered.", counts.batches),
        ("batched_requests_total", "Requests in batches.", counts.batched),
        ("prompt_tokens_total", "Positions of prompts answered.", counts.prompt_tokens),
        ("completion_tokens_total", "Tokens said.", counts.completion_tokens),
        ("request_seconds_total", "From head to last byte.", counts.request_seconds),
        ("wait_seconds_total", "Of requests in line.", counts.waited_seconds),
        ("batch_seconds_total", "The model's work.", counts.batch_seconds),
    ):
        yield from _metric(name, "counter", words, {"": value})


def _metric(
    name: str, kind: str, words: str, values: Mapping[str, float]
) -> Iterator[str]:
    yield f"# HELP mmjax_{name} {words}"
    yield f"# TYPE mmjax_{name} {kind}"
    for labels, value in values.items():
        yield f"mmjax_{name}{labels} {value!r}"
