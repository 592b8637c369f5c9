"""Documents of the sample world: each a pure function of (seed, kind, split, index)."""

import random
from collections.abc import Iterable
from typing import NamedTuple

from data_pipelines.prepare import drawing, questions, scenes, sentences, texts
from data_pipelines.prepare.questions import Naming, Question
from data_pipelines.prepare.scenes import Scene
from data_pipelines.records import Document, Image, Segment, Text

ORDINALS = ("first", "second", "third", "fourth")
SOURCES = ("captions", "interleaved", "text")
# A source of its own: pictures, each with nothing but a made-up word that names what it
# shows, in this document only; and one such picture as a question, whose group names
# things alike.
NAMES, ONE_NAME = "names", "one_name"
# Colour and shape also among several things: most scenes show one, and an average over
# all would hide whether the model tells which colour is whose.
SEVERAL = {"colour_of_several": "colour", "shape_of_several": "shape"}
QUESTIONS = (*questions.KINDS, *SEVERAL, "naming", "cloze")
LICENCE = "CC0-1.0"
GROUP = 12  # questions of a group
NAMED = 9  # pictures of a document of `NAMES`


class Draft(NamedTuple):
    """A document before its images are drawn."""

    kind: str
    segments: list[Scene | Text]


def document(
    seed: int, source: str, split: str, index: int, image_size: int
) -> Document:
    """Document `index` of a source, or a question of a kind in QUESTIONS."""
    rng = random.Random(f"{seed}/{source}/{split}/{index}")
    more = {}
    if source in QUESTIONS:
        draft = _question(rng, source, split, index)
    elif source == ONE_NAME:
        group = index // GROUP
        meaning = random.Random(f"{seed}/{source}/{split}/group {group}")
        draft, more = _one_name(rng, meaning, split, index), {"group": group}
    else:
        draft = _WRITERS[source](rng, split)
    segments: list[Segment] = []
    shown = []
    for segment in draft.segments:
        if isinstance(segment, Scene):
            data = drawing.jpeg(segment, image_size, rng.getrandbits(32))
            segments.append(Image(data, image_size, image_size))
            shown.append(scenes.description(segment))
        else:
            segments.append(segment)
    return Document(
        tuple(segments),
        "sample_world",
        draft.kind,
        LICENCE,
        meta={"scenes": shown, **more},
    )


def _captions(rng: random.Random, split: str) -> Draft:
    scene = scenes.draw(rng, split)
    if rng.random() < 0.5:
        return Draft("short", [scene, Text(sentences.short_caption(rng, scene))])
    return Draft("rich", [scene, Text(sentences.rich_caption(rng, scene))])


def _interleaved(rng: random.Random, split: str) -> Draft:
    chance = rng.random()
    if chance < 0.8:
        return _page(rng, split)
    return _lesson(rng, split) if chance < 0.9 else _album(rng, split)


def _page(rng: random.Random, split: str) -> Draft:
    """Pictures, each followed by up to five questions and their answers."""
    segments: list[Scene | Text] = []
    for _ in range(rng.randint(1, 4)):
        scene = scenes.draw(rng, split)
        asked = []
        for _ in range(rng.randint(2, 5)):
            question = questions.ask(rng, scene, rng.choice(questions.ON_A_PAGE))
            if question and question not in asked:
                asked.append(question)
        if not asked:
            asked = [q for q in [questions.ask(rng, scene, "count")] if q]
        segments += [scene, *_lines(asked, prompts=False)]
    return Draft("questions", segments)


def _lines(asked: Iterable[Question], prompts: bool) -> list[Text]:
    """Questions under one another; `prompts`: they are to be predicted, too.

    The line ends are not predicted, so that what follows an answer is the end of the
    document wherever the model has a say.
    """
    lines: list[Text] = []
    for question in asked:
        lines += [Text("\n", loss=False)] if lines else []
        lines += [Text(question.prompt, loss=prompts), Text(question.answer)]
    return lines


def _lesson(rng: random.Random, split: str) -> Draft:
    """Examples that give two made-up words a meaning, for this document only."""
    named = questions.naming(rng, _words(rng))
    segments: list[Scene | Text] = []
    for scene in _named_scenes(rng, split, named, rng.randint(4, 7)):
        question = named.question(scene)
        segments += [scene, Text(question.prompt), Text(question.answer)]
    return Draft("lesson", segments)


def _named_scenes(
    rng: random.Random, split: str, named: Naming, pictures: int
) -> list[Scene]:
    """The first two pictures show both meanings, the others any."""
    values = list(named.words)
    rng.shuffle(values)
    values += [rng.choice(values) for _ in range(pictures - 2)]
    return [questions.named_scene(rng, split, named, value) for value in values]


def _words(rng: random.Random) -> list[str]:
    return rng.sample(questions.WORDS, 2)


def _album(rng: random.Random, split: str) -> Draft:
    """Pictures with text that tells them apart."""
    shown = [scenes.draw(rng, split) for _ in range(rng.randint(2, 4))]
    number = sentences.NUMBERS[len(shown)]
    segments: list[Scene | Text] = [Text(f"An album of {number} pictures.")]
    for ordinal, scene in zip(ORDINALS, shown):
        words = sentences.statement(rng, scene)
        segments += [scene, Text(f"In the {ordinal} picture, {words}")]
    return Draft("album", [*segments, Text(_comparison(rng, shown))])


def _comparison(rng: random.Random, shown: list[Scene]) -> str:
    """What sets two of the pictures, or one from all others, apart."""
    one, other = sorted(rng.sample(range(len(shown)), 2))
    many, few = len(shown[one].things), len(shown[other].things)
    than = "fewer shapes than" if many < few else "more shapes than"
    than = "as many shapes as" if many == few else than
    text = f" The {ORDINALS[one]} picture has {than} the {ORDINALS[other]}."
    name = sentences.name(rng.choice(shown[one].things))
    having = [name in map(sentences.name, scene.things) for scene in shown]
    if having.count(True) == 1:
        text += f" Only the {ORDINALS[one]} picture shows {sentences.a(name)}."
    return text


def _text(rng: random.Random, split: str) -> Draft:
    match rng.randrange(4):
        case 0:
            asked = [texts.cloze(rng, split) for _ in range(rng.randint(2, 6))]
            return Draft("puzzles", [*_lines(asked, prompts=True)])
        case 1:
            told = [texts.story(rng, scenes.draw(rng, split)) for _ in range(2)]
            return Draft("stories", [Text("\n".join(told))])
        case 2:
            told = [texts.describe(rng, scenes.draw(rng, split)) for _ in range(2)]
            return Draft("descriptions", [Text("\n".join(told))])
        case _:
            told = texts.describe(rng, scenes.draw(rng, split))
            return Draft("lessons", [Text(f"{texts.definitions(rng)}\n{told}")])


def _question(rng: random.Random, kind: str, split: str, index: int) -> Draft:
    """A question alone; answers take turns, so that none is much more common."""
    if kind == "cloze":
        forms = list(texts.FORMS)
        question = texts.cloze(rng, split, forms[index % len(forms)])
        return Draft(kind, [*_unanswered(question)])
    if kind == "naming":
        named = questions.naming(rng, _words(rng))
        shown = _named_scenes(rng, split, named, pictures=5)
        segments: list[Scene | Text] = []
        for scene in shown[:-1]:
            segments += [scene, Text("".join(named.question(scene)), loss=False)]
        last = shown[-1]
        return Draft(kind, [*segments, last, *_unanswered(named.question(last))])
    asked = SEVERAL.get(kind, kind)
    answers = questions.ANSWERS[asked]
    answer = answers[index % len(answers)]
    scene, question = questions.ask_for(rng, split, asked, answer, kind in SEVERAL)
    return Draft(kind, [scene, *_unanswered(question)])


def _names(rng: random.Random, split: str) -> Draft:
    named = questions.naming_things(rng, split, _words(rng))
    segments: list[Scene | Text] = []
    for scene in _named_scenes(rng, split, named, NAMED):
        segments += [scene, Text(named.said(scene))]
    return Draft(NAMES, segments)


def _one_name(
    rng: random.Random, meaning: random.Random, split: str, index: int
) -> Draft:
    """A picture of a group, whose words take turns."""
    named = questions.naming_things(meaning, split, _words(meaning))
    scene = questions.named_scene(rng, split, named, list(named.words)[index % 2])
    return Draft(ONE_NAME, [scene, Text(named.said(scene))])


def _unanswered(question: Question) -> list[Text]:
    return [Text(question.prompt, loss=False), Text(question.answer)]


_WRITERS = {
    "captions": _captions,
    "interleaved": _interleaved,
    "text": _text,
    NAMES: _names,
}
