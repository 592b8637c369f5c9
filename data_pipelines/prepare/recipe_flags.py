"""The flags that say what a preparation does with documents."""

from typing import TypeVar

from absl import flags

from data_pipelines.prepare.filters import captions, language, quality, scores
from data_pipelines.prepare.filters import pages as page_rules
from data_pipelines.prepare.filters import pictures as picture_rules
from data_pipelines.prepare.formats import text_splits
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.recipe import Recipe

Rules = TypeVar("Rules")

_MISSING = ("text_only", "drop", "error")
_TEXT_RULES = {"off": None, "gopher": quality.GOPHER, "c4": quality.C4}

_IMAGE_KEY = flags.DEFINE_string(
    "image_key", "", "Column or member of images. Default: as the format has it."
)
_TEXT_KEY = flags.DEFINE_string("text_key", "", "Likewise of texts or captions.")
_SYNTHETIC_KEY = flags.DEFINE_string(
    "synthetic_key",
    "",
    "Likewise of a caption in another wording, by a model. Default: synthetic, "
    "synthetic_caption, synthetic_captions or recaption.",
)
_TEXT_SPLIT = flags.DEFINE_enum(
    "text_split",
    "auto",
    ["auto", *text_splits.SPLITS],
    "One document of a .txt file is: the file; what a blank_line separates; a heading "
    "(' = Title = ') and what follows; a passage (paragraphs up to 2000 characters "
    "or more). auto: heading where there are any, otherwise passage.",
)
_MISSING_IMAGE = flags.DEFINE_enum(
    "missing_image",
    "text_only",
    _MISSING,
    "What becomes of an interleaved document with an image that can't be used: it "
    "stays without that image, goes, or is an error that stops all. Captions and "
    "instructions always go.",
)
_HELDOUT = flags.DEFINE_float(
    "heldout", 0.02, "Share of documents held out.", lower_bound=0.0, upper_bound=0.9
)
_MAX_SIDE = flags.DEFINE_integer(
    "max_side", 448, "Larger images are shrunk to this (pixels).", lower_bound=16
)
_ALL = flags.DEFINE_bool(
    "all_filters",
    False,
    "Turns on image, caption, page and text rules and near-duplicate removal.",
)
_PICTURES = flags.DEFINE_bool(
    "image_rules", None, "MM1's rules for images: sides, aspect, logos, blanks."
)
_CAPTIONS = flags.DEFINE_bool(
    "caption_rules", None, "Rules for captions: words, digits, names of files."
)
_PAGES = flags.DEFINE_bool(
    "page_rules",
    None,
    "MM1's rules for interleaved documents: 1 to 30 images, none of them shown twice, "
    "or in more than 10 documents.",
)
_TEXTS = flags.DEFINE_enum(
    "text_rules", None, list(_TEXT_RULES), "Quality rules for documents and texts."
)
_NEAR = flags.DEFINE_bool(
    "near_duplicates", None, "Removes near duplicates (MinHash, perceptual hash)."
)
_BAD_WORDS = flags.DEFINE_string(
    "bad_words", "", "File of words, one a line, that texts mustn't have."
)
_LANGUAGES = flags.DEFINE_list(
    "languages", [], "Languages that are kept, as en,de. Default: all."
)
_SCORES = flags.DEFINE_multi_string(
    "score", [], "Condition on a column, as similarity>=0.28 (may be repeated)."
)
_MISSING_SCORES = flags.DEFINE_enum(
    "missing_scores", "keep", scores.MISSING, "What becomes of records without one."
)


def recipe() -> Recipe:
    """The recipe that the flags describe; ValueError where they can't be met."""
    if _LANGUAGES.value:
        language.check(_LANGUAGES.value)
    words = quality.read_words(_BAD_WORDS.value) if _BAD_WORDS.value else ()
    every = _ALL.value
    texts = _TEXTS.value or ("gopher" if every or words else "off")
    return Recipe(
        settings=Settings(
            _IMAGE_KEY.value,
            _TEXT_KEY.value,
            _TEXT_SPLIT.value,
            _MISSING_IMAGE.value,
            _SYNTHETIC_KEY.value,
        ),
        max_side=_MAX_SIDE.value,
        heldout=_HELDOUT.value,
        pictures=chosen(_PICTURES, picture_rules.MM1),
        captions=chosen(_CAPTIONS, captions.DEFAULT),
        pages=chosen(_PAGES, page_rules.MM1),
        texts=_TEXT_RULES[texts],
        bad_words=tuple(sorted(words)),
        languages=tuple(sorted(_LANGUAGES.value)),
        scores=tuple(map(scores.parse, _SCORES.value)),
        missing_scores=_MISSING_SCORES.value,
        near_duplicates=bool(chosen(_NEAR, True)),
    )


def chosen(flag: flags.FlagHolder, rules: Rules) -> Rules | None:
    """The rules, if the flag wants them, or says nothing and all are wanted."""
    wanted = _ALL.value if flag.value is None else flag.value
    return rules if wanted else None
