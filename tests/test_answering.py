"""Requests of texts and images get the texts, and the scores, that are theirs."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import talking

from data_pipelines import materialize
from data_pipelines.records import Text
from mmjax import answering, objectives
from mmjax.answering import Answer, Request
from mmjax.generation import speaker
from mmjax.models import vlm

pytestmark = pytest.mark.usefixtures("quick_compilation")


def requests(**how) -> list[Request]:
    return [Request(parts, 12, **how) for parts in talking.prompts()]


def test_a_request_gets_the_same_text_alone_and_in_any_batch(answerer):
    asked = [r._replace(temperature=i % 2, seed=i) for i, r in enumerate(requests())]
    together = answering.answer(answerer, asked)
    assert len({answer.text for answer in together}) == 4
    assert together[::-1] == answering.answer(answerer, asked[::-1])
    for i in (0, 3):
        assert answering.answer(answerer, [asked[i]])[0] == together[i]


def test_a_stop_string_ends_the_text_wherever_tokens_divide_it(answerer, monkeypatch):
    free = answering.answer(answerer, requests())
    words = answerer.tokenizer
    for answer, request in zip(free, requests()):
        ids = words.encode(answer.text)
        edges = [words.decode(ids[:n]) for n in range(1, len(ids))]
        inner = [len(e) for e in edges if 0 < len(e) < len(answer.text)]
        at = inner[len(inner) // 2]
        stop = answer.text[at - 1 : at + 1]  # the last letter of a token, the next's
        for block in (1, 16):
            monkeypatch.setattr(speaker, "BLOCK", block)
            asked = request._replace(stop=("never", stop))
            found = answering.answer(answerer, [asked])[0]
            assert found.text == answer.text.split(stop)[0]
            assert found.ended == "stop"
            assert 0 < found.tokens <= answer.tokens


def test_a_stop_id_ends_its_own_rows_text_before_it(answerer):
    free, words = answering.answer(answerer, requests()), answerer.tokenizer
    ended = 0
    for place, answer in enumerate(free):
        for ids in ([one] for one in set(words.encode(answer.text))):
            asked = requests()
            asked[place] = asked[place]._replace(stop_ids=(words.pad, *ids))
            found = answering.answer(answerer, asked)
            others = [n for n in range(len(free)) if n != place]
            assert [found[n] for n in others] == [free[n] for n in others]
            if found[place].ended == "stop":
                assert answer.text.startswith(found[place].text)
                assert found[place].tokens < answer.tokens
                ended += 1
            else:  # the text is spelt by other tokens than those that were said
                assert found[place] == answer
    assert ended >= len(free)


def test_who_watches_is_shown_answers_that_grow_to_the_last(answerer, monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 3)
    seen = []
    found = answering.answer(answerer, requests(), seen.append)
    assert len(seen) == 5
    for number, answer in enumerate(found):
        texts = [answering.settled(answers[number], ()) for answers in seen]
        assert all(b.startswith(a) for a, b in itertools.pairwise(texts))
        assert [answers[number].ended for answers in seen] == [""] * 4 + ["length"]
        assert seen[-1][number] == answer
        assert answer.tokens == 12


def stay_as_they_end(seen: list[list[Answer]], found: list[Answer]) -> bool:
    """Whether each answer that was shown as ended is the last one."""
    shown = [(one, last) for answers in seen for one, last in zip(answers, found)]
    return all(one == last for one, last in shown if one.ended)


def test_an_answer_that_has_ended_stays_as_it_is(answerer, monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    asked = requests()
    stop = answering.answer(answerer, asked)[0].text[3:6]
    asked[0] = asked[0]._replace(stop=(stop,))
    asked[1] = asked[1]._replace(new_tokens=3)
    seen = []
    found = answering.answer(answerer, asked, seen.append)
    assert [answer.ended for answer in found] == ["stop", "length", "length", "length"]
    assert stay_as_they_end(seen, found)
    assert [bool(answers[1].ended) for answers in seen] == [False] * 2 + [True] * 10


def test_what_may_be_the_start_of_a_stop_string_is_not_settled():
    cases = [
        ("a red", ("ball",), "a red"),
        ("a red ba", ("ball", "red"), "a red "),
        ("a red ball", ("ball\n",), "a red "),
        ("aaa", ("aab",), "a"),
        ("a red\ufffd\ufffd", (), "a red"),
        ("a b\ufffd", ("bc",), "a "),
    ]
    for text, stop, expected in cases:
        assert answering.settled(Answer(text), stop) == expected
        assert answering.settled(Answer(text, ended="length"), stop) == text


def test_the_end_of_the_document_ends_the_text(answerer, monkeypatch):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    asked = [Request((Text("a red"),), 40, 3.0, seed=seed) for seed in range(24)]
    seen = []
    found = answering.answer(answerer, asked, seen.append)
    assert stay_as_they_end(seen, found)
    assert any(one.ended == "end" for answers in seen[:-1] for one in answers)
    ended = [answer for answer in found if answer.ended == "end"]
    assert ended
    assert all(answer.tokens < 40 for answer in ended)
    assert all(a.tokens == 40 for a in found if a.ended == "length")


def test_scores_are_the_losses_of_training(answerer):
    choices = (" a red ball", " dog", " near the blue cube")
    asked = [r._replace(continuations=choices) for r in requests()]
    found = answering.answer(answerer, asked)
    config, words = answerer.config, answerer.tokenizer
    params = jax.tree.map(jnp.asarray, talking.parameters(config))
    model = vlm.build(config.model)
    documents = [(*r.parts, Text(text)) for r in asked for text in choices]
    config.model.loss_chunk = config.data.row_tokens
    batch = materialize.documents_batch(config, words, documents, complete=True)
    of_batch = functools.partial(objectives.token_losses, model, config)
    losses, _ = jax.jit(of_batch)(params, batch)
    scores = [score for answer in found for score in answer.scores]
    for row, (score, document) in enumerate(zip(scores, documents)):
        count = len(words.encode(document[-1].text))
        used = int((batch.segments_ZRT[0, row] > 0).sum())
        here = slice(used - 1 - count, used - 1)  # without the end of the document
        assert batch.targets_ZRT[0, row, here].tolist() == words.encode(score.text)
        np.testing.assert_allclose(
            score.log_likelihoods, -losses.nll_ZRT[0, row, here], rtol=1e-4, atol=1e-5
        )
        total = -float(losses.nll_ZRT[0, row, here].sum())
        assert score.total == pytest.approx(total, 1e-4)
        assert score.greedy == losses.hit_ZRT[0, row, here].all()


def test_a_greedy_continuation_is_what_would_be_said(answerer):
    asked = requests()
    said = [answer.text for answer in answering.answer(answerer, asked)]
    words = answerer.tokenizer
    texts = [t for t in said if words.decode(words.encode(t)) == t]
    again = [
        r._replace(continuations=(text, " zzz"))
        for r, text in zip(asked, said)
        if text in texts
    ]
    for answer, request in zip(answering.answer(answerer, again), again):
        ids = words.encode(request.continuations[0])
        assert not answer.scores[1].greedy
        if len(ids) == 12:  # the tokens that were said spell it in the same way
            assert answer.scores[0].greedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new_tokens": 0}, "new_tokens=0: must be at least 1"),
        ({"temperature": -1.0}, "temperature=-1.0: must be 0 or more"),
        ({"top_p": 0.0}, "top_p=0.0: must be above 0"),
        ({"top_k": -1}, "top_k=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"stop": ("",)}, "stop="),
        ({"stop_ids": (-1,)}, r"stop_ids=\(-1,\): must be ids of the tokenizer, 0 to"),
        ({"stop_ids": (3, 10**6)}, "stop_ids="),
        ({"new_tokens": 60}, r"8 positions and 60 new_tokens are 68: a row has 64"),
        ({"continuations": (" dog" * 64,)}, r"64 continuation's tokens are 72"),
    ],
)
def test_what_cant_be_answered_is_refused_with_its_numbers(answerer, change, message):
    config, words = answerer.config, answerer.tokenizer
    request = Request((talking.image(0), Text(" dog" * 5)))
    assert answering.check(config, words, request._replace(new_tokens=56)) == 8
    with pytest.raises(ValueError, match=message):
        answering.check(config, words, request._replace(**change))
