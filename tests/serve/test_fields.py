"""The JSON of a chat becomes a request, or the problem of one field."""

import json

import pytest
import serving
import talking

from data_pipelines.records import Text
from mmjax.answering import Request
from mmjax.serve import fields
from mmjax.serve.fields import Rules
from mmjax.serve.limits import Limits
from mmjax.serve.problems import Problem


@pytest.fixture(scope="module")
def rules(answerer):
    return Rules(answerer, "tiny", serving.MANNER, Limits())


def read(rules, prompt="a red", **more) -> fields.Asked:
    return fields.read(rules, json.dumps(serving.asked(prompt, **more)).encode())


def test_a_request_is_what_its_fields_say(rules):
    image = talking.image(2)
    content = [serving.part(image), serving.words("a red")]
    found = read(
        rules, content, max_tokens=7, temperature=0.5, top_p=0.9, top_k=3, seed=8,
        stop=["x", "y"], stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    expected = Request((image, Text("a red so")), 7, 0.5, 3, 0.9, 8, ("x", "y"))
    assert found.request == expected
    assert (found.stream, found.usage) == (True, True)
    assert found.positions == 1 + 2 + len(rules.answerer.tokenizer.encode("a red so"))


def test_nulls_and_usual_values_change_nothing(rules):
    usual = {
        "n": 1, "frequency_penalty": 0.0, "presence_penalty": 0, "logit_bias": {},
        "logprobs": False, "response_format": {"type": "text"}, "tools": [],
        "tool_choice": "auto", "store": False, "user": "me", "model": "tiny",
        "max_tokens": None, "stop": None, "stream": None, "stream_options": None,
        "seed": 4, "top_logprobs": None,
    }  # fmt: skip
    assert read(rules, **usual) == read(rules, seed=4)
    assert read(rules, stop="x", seed=4).request.stop == ("x",)
    counts = [read(rules, **{n: 3}).request.new_tokens for n in LENGTHS]
    assert counts == [3, 3]
    assert read(rules, max_tokens=3, max_completion_tokens=3).request.new_tokens == 3


LENGTHS = ("max_tokens", "max_completion_tokens")
BAD = [
    ({"n": 2}, "n", "must be 1"),
    ({"tools": [{}]}, "tools", r"must be \[\]"),
    ({"response_format": {"type": "json_object"}}, "response_format", "text"),
    ({"promt": "a"}, "promt", "unsupported"),
    ({"audio": {}}, "audio", "unsupported"),
    ({"temperature": "1"}, "temperature", "must be a number"),
    ({"temperature": True}, "temperature", "must be a number"),
    ({"temperature": -1}, "temperature", "must be 0 or more"),
    ({"temperature": float("nan")}, "temperature", "smaller number"),
    ({"temperature": float("inf")}, "temperature", "smaller number"),
    ({"temperature": 10**400}, "temperature", "smaller number"),
    ({"top_p": 0}, "top_p", "must be above 0"),
    ({"top_p": 1.5}, "top_p", "at most 1"),
    ({"top_k": -1}, "top_k", "must be 0 or more"),
    ({"seed": -1}, "seed", "must be in 0"),
    ({"seed": 2**32}, "seed", "must be in 0"),
    ({"seed": 1.5}, "seed", "must be a whole number"),
    ({"max_tokens": 0}, "max_tokens", "max_tokens=0: must be at least 1"),
    ({"max_completion_tokens": -2}, "max_completion_tokens", "at least 1"),
    ({"max_tokens": 10**400}, "messages", "a row has 64"),
    ({"max_tokens": 2, "max_completion_tokens": 3}, "max_tokens", "differs"),
    ({"stop": ""}, "stop", "1 to 256 characters"),
    ({"stop": ["a"] * 5}, "stop", "at most 4"),
    ({"stop": ["a" * 257]}, "stop", "1 to 256"),
    ({"stop": [1]}, "stop", "list of strings"),
    ({"stop": {"a": 1}}, "stop", "list of strings"),
    ({"stream": 0}, "stream", "true or false"),
    ({"stream_options": []}, "stream_options", "include_usage"),
    ({"stream_options": {"x": 1}}, "stream_options", "include_usage"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "true"),
    ({"model": "gpt"}, "model", "this is \"tiny\""),
    ({"model": 3}, "model", "isn't here"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param", "message"), BAD)
def test_what_is_not_supported_is_refused_by_name(rules, change, param, message):
    with pytest.raises(Problem, match=message) as caught:
        read(rules, **change)
    assert caught.value.status == (404 if param == "model" else 400)
    assert caught.value.param == param
    assert "\n" not in caught.value.message


def test_a_text_that_no_row_can_hold_is_not_even_tokenized(rules, monkeypatch):
    monkeypatch.setattr("mmjax.answering.check", lambda *_: pytest.fail("tokenized"))
    with pytest.raises(Problem, match="4100 characters: a row has 64 tokens") as caught:
        read(rules, "a" * 4097)  # and the template's
    assert caught.value.code == "context_length_exceeded"


def test_requests_without_a_seed_get_one_by_chance(rules):
    assert len({read(rules).request.seed for _ in range(4)}) > 1


def test_images_share_the_pixels_of_a_request(answerer):
    image = talking.image(0)  # 20 x 24
    two = [serving.part(image), serving.part(image)]
    for pixels, good in ((960, True), (959, False)):
        limits = Limits(image_pixels=pixels)
        rules = Rules(answerer, "tiny", serving.MANNER, limits)
        if good:
            assert len(read(rules, two).request.parts) == 3
            continue
        with pytest.raises(
            Problem, match=r"20 x 24: .* have 479 pixels left"
        ) as caught:
            read(rules, two)
        assert caught.value.param == "messages[0].content[1].image_url.url"


def test_a_damaged_image_is_refused_before_it_waits(rules):
    image = talking.image(0)
    cut = image._replace(data=image.data[: len(image.data) // 2])
    with pytest.raises(Problem, match="can't be decoded") as caught:
        read(rules, [serving.words("a"), serving.part(cut)])
    assert caught.value.code == "invalid_image"
    assert caught.value.param == "messages[0].content[1].image_url.url"
