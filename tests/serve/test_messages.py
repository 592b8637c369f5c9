"""Messages become texts and images in reading order, by the template."""

import pytest
import serving
import talking

from data_pipelines.records import Text
from mmjax.generate.chat import Manner
from mmjax.serve import messages
from mmjax.serve.problems import Problem

MANNER = Manner("Q: {text} A:", "\n")


def picture(url: str, param: str):
    """The address is a number."""
    return talking.image(int(url))


def image(number: int) -> dict:
    return {"type": "image_url", "image_url": {"url": str(number), "detail": "low"}}


def prompt(*pairs, manner=MANNER):
    told = [{"role": role, "content": content} for role, content in pairs]
    return messages.prompt(told, manner, picture)


def test_what_the_user_says_fills_the_template_and_answers_follow_it():
    found = prompt(
        ("system", "Be kind."), ("user", "What?"), ("assistant", "That."),
        ("user", "Who?"), ("user", "And when?"),
    )  # fmt: skip
    texts = ["Be kind.", "\n", "Q: What? A:", "That.", "\n", "Q: Who? A:", "\n",
             "Q: And when? A:"]  # fmt: skip
    assert found == tuple(map(Text, texts))


def test_images_stand_where_they_are_said_and_texts_that_touch_are_one():
    content = [serving.words("a"), serving.words(" b"), image(1), image(2)]
    assert prompt(("user", content)) == (
        Text("Q: a b"), talking.image(1), talking.image(2), Text(" A:")
    )  # fmt: skip
    free = Manner("{text}")
    assert prompt(("user", [image(3)]), manner=free) == (talking.image(3),)
    assert prompt(("user", "<image> {text}"), manner=free) == (Text("<image> {text}"),)


BAD = [
    (None, "messages", "list"),
    ([], "messages", "at least one"),
    ({}, "messages", "list"),
    (["a"], "messages[0]", "object"),
    ([{"role": "tool", "content": "a"}], "messages[0].role", "one of system"),
    ([{"content": "a"}], "messages[0].role", "one of"),
    ([{"role": "assistant", "content": "a"}], "messages", "the user's"),
    ([{"role": "user"}], "messages[0].content", "string, or a list"),
    ([{"role": "user", "content": 3}], "messages[0].content", "string, or a list"),
    ([{"role": "user", "content": "a", "name": "x"}], "messages[0].name", "unsup"),
    ([{"role": "user", "content": ["a"]}], "messages[0].content[0]", "part"),
    ([{"role": "user", "content": [{"type": "input_audio"}]}],
     "messages[0].content[0]", "part"),
    ([{"role": "user", "content": [{"type": "text", "text": 3}]}],
     "messages[0].content[0].text", "string"),
    ([{"role": "user", "content": "a \ud83d"}], "messages[0].content", "half a char"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": "1"}]}],
     "messages[0].content[0].image_url", "object"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
     "messages[0].content[0].image_url.url", "string"),
    ([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "1", "detail": "all"}}]}],
     "messages[0].content[0].image_url.detail", "auto"),
    ([{"role": "system", "content": [image(1)]}, {"role": "user", "content": "a"}],
     "messages[0].content", "images of the system"),
]  # fmt: skip


@pytest.mark.parametrize(("told", "param", "message"), BAD)
def test_other_messages_are_refused_by_their_place(told, param, message):
    with pytest.raises(Problem, match=message) as caught:
        messages.prompt(told, MANNER, picture)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_nulls_of_an_answer_that_is_sent_back_are_no_fields():
    told = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "c"},
    ]
    assert len(messages.prompt(told, MANNER, picture)) == 4
