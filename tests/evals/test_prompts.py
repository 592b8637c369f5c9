import pytest

from mmjax.evals import postprocess, prompts, tasks
from mmjax.evals.example import Example
from mmjax.evals.prompts import Image


def filled(task: str, example: Example) -> list:
    return prompts.fill(tasks.TASKS[task].prompt, example)


def solved(task: str, example: Example) -> list:
    prompt = tasks.TASKS[task].prompt
    return prompts.solved(prompt, example, prompts.answer(prompt, example))


def test_captions_and_questions_are_asked_as_mm1_does():
    example = Example("1", ("x.jpg",), "Who {is} it?")
    assert filled("coco", example) == [Image("x.jpg"), " A photo of"]
    assert filled("vqav2", example) == [
        Image("x.jpg"),
        " Question: Who {is} it? Short answer:",
    ]


def test_a_solved_example_ends_with_its_answer_and_a_new_line():
    example = Example("1", ("x.jpg",), "Who?", references=("cat", "dog", "dog"))
    found = solved("vqav2", example)
    assert found[-1] == " dog\n"
    text = Example("1", (), "Which?", ("p", "q"), 1)
    found = solved("arc_easy", text)
    assert "".join(found) == "Question: Which?\nAnswer: q\n\n"


def test_options_are_letters_and_so_is_the_answer():
    example = Example("1", ("x.jpg",), "Which?", ("cat", "dog"), 1, hint="Look.")
    prompt = tasks.TASKS["scienceqa"].prompt
    assert prompts.fill(prompt, example)[1] == (
        " Look.\nWhich?\nA. cat\nB. dog\nAnswer:"
    )
    assert prompts.answer(prompt, example) == "B"


def test_an_image_stands_where_the_question_places_it():
    facts = {"image_numbers": (2, 1)}
    example = Example("1", (b"two", b"one"), "See <image 2> by <image 1>.", facts=facts)
    prompt = prompts.Prompt("{images} {question} Answer:")
    assert prompts.fill(prompt, example) == [
        "See ",
        Image(b"two"),
        " by ",
        Image(b"one"),
        ". Answer:",
    ]


def test_a_box_is_shown_in_thousandths_and_a_secret_answer_is_an_error():
    example = Example("1", ("x",), "left", facts={"box": (0.25, 0.2, 0.75, 2 / 3)})
    prompt = tasks.TASKS["refcoco"].prompt
    assert prompts.answer(prompt, example) == "[0.250, 0.200, 0.750, 0.667]"
    with pytest.raises(ValueError, match="example 2 has no known answer"):
        prompts.answer(prompt, Example("2"))


@pytest.mark.parametrize(
    ("text", "stops", "steps", "left"),
    [
        (" a dog\nA cat", ["\n"], ["strip"], "a dog"),
        ("a dog.Output: a", [], ["flamingo_caption"], "a dog."),
        ("two Question: how", [], ["flamingo_vqa"], "two "),
        ("red, blue", [], ["flamingo_vqa"], "red"),
        ("1,000 Short", [], ["flamingo_vqa"], "1,000 "),
        ("Yes.", [], ["gqa"], "yes"),
        ("x, y. z", [".", ","], [], "x"),
    ],
)
def test_each_step_of_post_processing_by_an_example(text, stops, steps, left):
    assert postprocess.apply(text, stops, steps) == left
