"""The program that turns raw corpora into shards; see --helpshort.

    python -m data_pipelines.prepare --output=ROOT \\
        --captions=captions.jsonl --interleaved=docs.jsonl --text=wiki.txt
    python -m data_pipelines.prepare index --output=ROOT --tokenizer=other.model

    python -m data_pipelines.prepare recaption --output=ROOT --corpus=captions \\
        --endpoint=http://host:8000/v1 --model=NAME

The second form counts the tokens of ROOT again, for another tokenizer. The third asks a
model for a synthetic caption of each image of a prepared corpus (VeCap), beside the
text that it has; it may be stopped and started again.

The usual files are JSON lines:

    captions     {"image": path, "caption": text}, or captions: a list of texts
    interleaved  {"texts": [text or null], "images": [path or null]}, in reading order
    text         {"text": text}; or a .txt

Files may be of any format of docs/formats.md, which is told from their name and first
record, or said: --captions=webdataset:shards/{00000..00099}.tar  Stages, filters and
runners are described in docs/prepare.md.
"""

import functools
import logging
import os
import sys

from absl import app, flags

from data_pipelines.prepare import (
    corpus,
    recaption,
    recaption_flags,
    recipe_flags,
    tokenizer_sample,
)
from data_pipelines.prepare.formats import inputs

_CAPTIONS = flags.DEFINE_multi_string(
    "captions", [], "Files of captions (paths, patterns or folders; may be repeated)."
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of the captions' images. Default: beside each file."
)
_INTERLEAVED = flags.DEFINE_multi_string(
    "interleaved", [], "Files of interleaved documents (likewise)."
)
_INTERLEAVED_IMAGES = flags.DEFINE_string(
    "interleaved_images", None, "Folder of their images. Default: beside each file."
)
_TEXT = flags.DEFINE_multi_string("text", [], "Files of text (likewise).")
_INSTRUCTIONS = flags.DEFINE_multi_string(
    "instructions",
    [],
    "Files of conversations about images (likewise), or lists of such files: "
    "mixture.yaml, dataset_info.json#NAME,NAME.",
)
_INSTRUCTIONS_IMAGES = flags.DEFINE_string(
    "instructions_images", None, "Folder of their images. Default: beside each file."
)
_DECONTAMINATE = flags.DEFINE_multi_string(
    "decontaminate",
    [],
    "NAME=PATH of an evaluation set (.json, .jsonl, .txt or a folder of images) whose "
    "texts and images must not be trained on; may be repeated, a name too.",
)
_OUTPUT = flags.DEFINE_string("output", None, "New folder to write.", required=True)
_TOKENIZER = flags.DEFINE_string(
    "tokenizer",
    "",
    "Existing sentencepiece model or tokenizer.json. Default: train one.",
)
_VOCAB_SIZE = flags.DEFINE_integer(
    "vocab_size", 8192, "Ids of a trained tokenizer.", lower_bound=300
)
_TOKENIZER_WEIGHTS = flags.DEFINE_string(
    "tokenizer_weights",
    "",
    "Mixture of characters that a tokenizer is trained on, in integers, as "
    "captions:45,interleaved:45,text:10. Default: all texts, each once.",
)
_SHARDS = flags.DEFINE_integer(
    "shards", 0, "Shards of each folder. 0: by the size of the input.", lower_bound=0
)
_WORKERS = flags.DEFINE_integer(
    "workers", 1, "Processes, on this machine.", lower_bound=1
)
_RUNNER = flags.DEFINE_string("runner", "DirectRunner", "Of Apache Beam.")
_say = functools.partial(print, file=sys.stderr)
_BEAM = flags.DEFINE_multi_string(
    "beam", [], "A flag for Beam's runner, as --beam=--region=europe-west4."
)


def main(arguments: list[str]) -> None:
    """Prepares and prints the summary."""
    command = arguments[1:]
    if command == ["index"]:
        output, model = _OUTPUT.value or "", _TOKENIZER.value
        print(corpus.reindex(output, model, _WORKERS.value))
        return
    if command == ["recaption"]:
        output, model = _OUTPUT.value or "", _TOKENIZER.value
        request = recaption_flags.request(output, model, _WORKERS.value)
        print(recaption.recaption(request, say=_say))
        return
    if command:
        rule = "the commands are index and recaption, the rest --flags"
        raise ValueError(f"{command[0]!r}: {rule}")
    patterns = {
        "captions": (_CAPTIONS.value, _IMAGES.value),
        "interleaved": (_INTERLEAVED.value, _INTERLEAVED_IMAGES.value),
        "text": (_TEXT.value, None),
        "instructions": (_INSTRUCTIONS.value, _INSTRUCTIONS_IMAGES.value),
    }
    files = {
        name: inputs.expand(given, images or "", name)
        for name, (given, images) in patterns.items()
        if given
    }
    if not files:
        names = ", ".join(f"--{name}" for name in patterns)
        raise ValueError(f"nothing to prepare: give one of {names}")
    weights = _TOKENIZER_WEIGHTS.value
    if weights and _TOKENIZER.value:
        raise ValueError("--tokenizer_weights: --tokenizer gives one, trained already")
    request = corpus.Request(
        files=files,
        output=_OUTPUT.value or "",
        recipe=recipe_flags.recipe(),
        evaluations=_evaluations(_DECONTAMINATE.value),
        tokenizer=_TOKENIZER.value,
        vocab_size=_VOCAB_SIZE.value,
        tokenizer_weights=tokenizer_sample.parse(weights) if weights else {},
        shards=_SHARDS.value,
        runner=_RUNNER.value,
        workers=_WORKERS.value,
        flags=_BEAM.value,
    )
    print(corpus.prepare(request, say=_say))


def _evaluations(given: list[str]) -> dict[str, list[str]]:
    """Paths by name."""
    found: dict[str, list[str]] = {}
    for item in given:
        name, _, path = item.partition("=")
        if not name.isidentifier() or not path:
            raise ValueError(f"--decontaminate={item}: must be NAME=PATH")
        found.setdefault(name, []).append(path)
    return found


def _one_line(arguments: list[str]) -> None:
    # What fails is told in one line; Beam would show its own traces as well.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # workers', too
    try:
        main(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        resumes = arguments[1:] != ["index"]
        sys.exit("stopped" + "; the same command goes on from here" * resumes)


flags.adopt_module_key_flags(recaption_flags)
flags.adopt_module_key_flags(recipe_flags)
if __name__ == "__main__":
    app.run(_one_line)
