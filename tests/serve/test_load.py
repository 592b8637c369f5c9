"""A minute of many clients at once: no error, no wrong answer, no growing memory."""

import io
import json
import random
import time

import numpy as np
import PIL.Image
import pytest
import serving
from serving import Call, words

from data_pipelines.records import Image

CLIENTS, SECONDS, PROMPTS = 64, 60, 32


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def picture(seed: int) -> Image:
    """Of 100 kB: were some of them kept, that would be seen."""
    pixels_hwc = np.random.default_rng(seed).integers(0, 256, (160, 200, 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels_hwc).save(file, "PNG")
    return Image(file.getvalue(), 200, 160)


def prompts() -> list:
    return [
        [serving.part(picture(i)), words(f" a red dog {i}")] for i in range(PROMPTS)
    ]


def text_of(reply: serving.Reply) -> str:
    assert reply.status == 200, reply.body
    if reply.headers["content-type"] == "application/json":
        return reply.text
    chunks = [event["choices"][0]["delta"] for event in serving.events(reply.body)]
    return "".join(chunk.get("content", "") for chunk in chunks)


@pytest.mark.slow
def test_64_clients_get_their_own_answers_for_a_minute_in_bounded_memory(answerer):
    with serving.served(answerer) as site:
        asked = prompts()
        alone = [site.ask(prompt, max_tokens=12).text for prompt in asked]
        assert len(set(alone)) > PROMPTS // 2
        end, answered, left = time.monotonic() + SECONDS, [], []

        def client(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < end:
                which = rng.randrange(PROMPTS)
                if rng.random() < 0.1:  # some leave without an answer
                    fields = serving.asked(asked[which], max_tokens=40)
                    site.connect(serving.raw(fields)).close()
                    left.append(which)
                    time.sleep(0.2)  # a client that leaves isn't a flood
                    continue
                stream = rng.random() < 0.5
                reply = site.ask(asked[which], max_tokens=12, stream=stream)
                assert text_of(reply) == alone[which]
                answered.append(which)

        clients = [Call(client, number) for number in range(CLIENTS)]
        sizes = []
        while time.monotonic() < end:
            time.sleep(5)
            sizes.append(resident())
        for each in clients:
            each.join(120)
        assert [each.error for each in clients] == [None] * CLIENTS
        assert len(answered) > CLIENTS
        assert set(answered) == set(range(PROMPTS))
        found = site.metrics()
        statuses = {name for name in found if name.startswith("mmjax_requests")}
        of = {s: f'mmjax_requests_total{{status="{s}"}}' for s in (200, 429, 499)}
        # Those who leave don't wait for their turn, so some of them may be too many.
        assert statuses | {of[429]} == set(of.values())
        batches = found["mmjax_batched_requests_total"] / found["mmjax_batches_total"]
        print(json.dumps({"answered": len(answered), "left": len(left),
                          "a batch": batches, "bytes": sizes}))  # fmt: skip
        assert batches > 2
        assert sizes[-1] - sizes[len(sizes) // 3] < 100e6
