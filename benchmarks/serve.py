"""Requests a second that the server answers, by how many clients ask at once.

    python -m benchmarks.serve --workdir=runs/quickstart [--clients 1 16 64] [--new=8]

starts `python -m mmjax.serve` on a run, and lets clients ask for short answers about
images of noise, each again as soon as it is answered. What was compiled in a round
before the one that is measured isn't counted.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import PIL.Image

IMAGES, SIDE = 64, 224  # different images, pixels of a side


class Round(NamedTuple):
    """What so many clients got."""

    clients: int
    seconds: list[float]  # of each request
    errors: int
    wall: float
    batch: float  # requests in a batch, on average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--new", type=int, default=8)
    arguments = parser.parse_args()
    bodies = requests(arguments.new)
    print(f"{arguments.new} tokens after an image, {os.cpu_count()} cores")
    print("clients  requests/s  median s  95 % s  requests a batch  errors")
    with served(arguments.workdir) as port:
        for clients in arguments.clients:
            ask(port, bodies, clients, arguments.seconds)
            print(line(ask(port, bodies, clients, arguments.seconds)), flush=True)


def requests(new: int) -> list[bytes]:
    """Bodies with an image each."""
    bodies, rng = [], np.random.default_rng(0)
    for number in range(IMAGES):
        pixels_hwc = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        file = io.BytesIO()
        PIL.Image.fromarray(pixels_hwc).save(file, "JPEG", quality=80)
        url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": f"Question: What is thing {number}?"},
        ]
        messages = [{"role": "user", "content": content}]
        fields = {"messages": messages, "temperature": 0, "max_tokens": new}
        bodies.append(json.dumps(fields).encode())
    return bodies


@contextlib.contextmanager
def served(workdir: str) -> Iterator[int]:
    """The port of a server in a process of its own."""
    command = [sys.executable, "-m", "mmjax.serve", f"--workdir={workdir}", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            match = re.search(r":(\d+)$", process.stdout.readline().strip())
            if match is None:
                raise SystemExit("the server did not start")
            yield int(match[1])
        finally:
            process.terminate()
            process.wait()


def ask(port: int, bodies: list[bytes], clients: int, seconds: float) -> Round:
    """Lets clients ask for so long."""
    taken: list[float] = []
    errors: list[int] = []
    before, begun = counted(port), time.perf_counter()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        turn = number
        while time.perf_counter() < begun + seconds:
            start = time.perf_counter()
            body = bodies[turn % len(bodies)]
            connection.request("POST", "/v1/chat/completions", body)
            reply = connection.getresponse()
            reply.read()
            if reply.status == 200:
                taken.append(time.perf_counter() - start)
            else:
                errors.append(reply.status)
            turn += clients
        connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - begun
    batched, batches = (b - a for a, b in zip(before, counted(port)))
    return Round(clients, taken, len(errors), wall, batched / max(batches, 1))


def counted(port: int) -> tuple[float, float]:
    """Requests in batches, and batches, so far."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found = re.findall(
        r"^mmjax_batche(?:d_requests|s)_total (\S+)$", text, re.MULTILINE
    )
    batches, batched = map(float, found)
    return batched, batches


def line(found: Round) -> str:
    """A row of the table."""
    ordered = sorted(found.seconds)
    late = ordered[int(0.95 * (len(ordered) - 1))]
    return (
        f"{found.clients:7}  {len(ordered) / found.wall:10.1f}  "
        f"{statistics.median(ordered):8.3f}  {late:6.3f}  {found.batch:16.1f}  "
        f"{found.errors:6}"
    )


if __name__ == "__main__":
    main()
