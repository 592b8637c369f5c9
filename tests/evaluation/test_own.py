"""Question documents of a run as tasks."""

import pytest
import talking

from data_pipelines import records, shards
from data_pipelines.records import Document, Text
from mmjax.evals import prompts
from mmjax.evaluation import own


def write(folder, documents):
    home = folder / "questions"
    keyed = [(bytes([n]) * 16, records.encode(d)) for n, d in enumerate(documents)]
    infos = [shards.write_shard(home, 0, 1, keyed)]
    shards.write_manifest(home, infos, {})
    return home


def test_a_question_is_put_as_its_document_has_it(tmp_path):
    one, two = talking.image(0), talking.image(1)
    segments = (
        one, Text("This is a dax.", False), two, Text("This is a", False),
        Text(" blick.", True),
    )  # fmt: skip
    home = write(tmp_path, [Document(segments, kind="naming")])
    [example] = own.load(home)["naming"]
    parts = prompts.fill(own.TASK.prompt, example)
    assert parts == [
        prompts.Image(one.data), "This is a dax.", prompts.Image(two.data), "This is a",
    ]  # fmt: skip
    shown = prompts.answer(own.TASK.prompt, example)
    assert prompts.solved(own.TASK.prompt, example, shown) == [*parts, " blick."]
    assert example.references == ("blick",)


def test_a_question_keeps_the_group_of_its_document(tmp_path):
    segments = (Text("a", False), Text(" b", True))
    documents = [Document(segments, meta={"group": n}) for n in (3, 4)]
    [plain, *grouped] = own.load(write(tmp_path, [Document(segments), *documents]))[""]
    assert [example.facts["group"] for example in (plain, *grouped)] == [None, 3, 4]


def test_documents_without_one_answer_at_the_end_are_none(tmp_path):
    image = talking.image(0)
    plain = Document((image, Text("all of it counts"), Text(" too")), kind="a")
    early = Document((Text("yes"), Text(" no", False)), kind="b")
    with pytest.raises(ValueError, match="holds no document that ends in an answer"):
        own.load(write(tmp_path, [plain, early]))
