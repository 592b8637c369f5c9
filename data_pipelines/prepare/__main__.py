"""The program that turns raw corpora into shards; see --helpshort.

    python -m data_pipelines.prepare --output=ROOT \\
        --captions=captions.jsonl --interleaved=docs.jsonl --text=wiki.txt
    python -m data_pipelines.prepare index --output=ROOT --tokenizer=other.model

    python -m data_pipelines.prepare recaption --output=ROOT --corpus=captions \\
        --endpoint=http://host:8000/v1 --model=NAME

The second form counts the tokens of ROOT again, for another tokenizer. The third asks a
model for a synthetic caption of each image of a prepared corpus (VeCap), beside the
text that it has; it may be stopped and started again.

Formats, one document a line:
  captions     JSONL {"image": path, "caption": text} or {..., "captions": [text, ...]};
               CSV or TSV with a header that names image and caption
  interleaved  JSONL {"texts": [...], "images": [...]} in reading order: at each
               position one is null; an image is a path or {"file": path}
  text         .txt (--text_split says what a document is) or JSONL {"text": text}
"""

import functools
import logging
import sys

from absl import app, flags

from data_pipelines.prepare import (
    corpus,
    readers,
    recaption,
    recaption_flags,
    tokenizer_sample,
)  # fmt: skip
from data_pipelines.prepare.own import Options

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
_TEXT_SPLIT = flags.DEFINE_enum(
    "text_split",
    "auto",
    sorted(readers.TEXT_SPLITS),
    "One document of a .txt file is: the file; what a blank_line separates; a heading "
    f"(' = Title = ') and what follows; a passage (paragraphs up to {readers.PASSAGE} "
    "characters or more). auto: heading where there are any, otherwise passage.",
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
_HELDOUT = flags.DEFINE_float(
    "heldout", 0.02, "Share of documents held out.", lower_bound=0.0, upper_bound=0.9
)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side", 448, "Larger images are shrunk to this (pixels).", lower_bound=16
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
    files = [
        *readers.inputs("captions", _CAPTIONS.value, _IMAGES.value),
        *readers.inputs("interleaved", _INTERLEAVED.value, _INTERLEAVED_IMAGES.value),
        *readers.inputs("text", _TEXT.value),
    ]
    if not files:
        raise ValueError("nothing to prepare: give --captions, --interleaved or --text")
    weights = _TOKENIZER_WEIGHTS.value
    if weights and _TOKENIZER.value:
        raise ValueError("--tokenizer_weights: --tokenizer gives one, trained already")
    request = corpus.Request(
        files=files,
        output=_OUTPUT.value or "",
        options=Options(_MAX_SIDE.value, _HELDOUT.value, _TEXT_SPLIT.value),
        tokenizer=_TOKENIZER.value,
        vocab_size=_VOCAB_SIZE.value,
        tokenizer_weights=tokenizer_sample.parse(weights) if weights else {},
        shards=_SHARDS.value,
        runner=_RUNNER.value,
        workers=_WORKERS.value,
        flags=_BEAM.value,
    )
    print(corpus.prepare(request, say=_say))


def _one_line(arguments: list[str]) -> None:
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    try:
        main(arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        resumes = arguments[1:] == ["recaption"]
        sys.exit("stopped" + "; the same command goes on from here" * resumes)


flags.adopt_module_key_flags(recaption_flags)
if __name__ == "__main__":
    app.run(_one_line)
