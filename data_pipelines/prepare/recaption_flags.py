"""The flags of `python -m data_pipelines.prepare recaption`."""

import pathlib

from absl import flags

from data_pipelines.endpoint import chat
from data_pipelines.endpoint.asking import Manner
from data_pipelines.endpoint.chat import Endpoint
from data_pipelines.prepare import recaption

_DEFAULTS = recaption.Request("", Endpoint("", ""))
_CORPUS = flags.DEFINE_string(
    "corpus", _DEFAULTS.corpus, "recaption: the corpus whose images are described."
)
_ENDPOINT = flags.DEFINE_string(
    "endpoint", "", "recaption: an OpenAI-compatible address, as http://host:8000/v1."
)
_MODEL = flags.DEFINE_string("model", "", "recaption: the endpoint's model.")
_PROMPT = flags.DEFINE_string(
    "prompt",
    "",
    f"recaption: what to ask; the text stands where it says {recaption.CAPTION}.",
)
_PROMPT_FILE = flags.DEFINE_string(
    "prompt_file", "", "recaption: likewise, from a file."
)
_CONCURRENCY = flags.DEFINE_integer(
    "concurrency", _DEFAULTS.manner.concurrency, "recaption: questions at a time.",
    lower_bound=1,
)  # fmt: skip
_PER_MINUTE = flags.DEFINE_float(
    "requests_per_minute", _DEFAULTS.manner.per_minute, "recaption: at most so many.",
    lower_bound=0.01,
)  # fmt: skip
_MAX_TOKENS = flags.DEFINE_integer(
    "max_tokens", _DEFAULTS.endpoint.max_tokens, "recaption: of an answer.",
    lower_bound=1,
)  # fmt: skip
_PRICE_IN = flags.DEFINE_float(
    "price_in", 0.0, "recaption: of a million tokens, to show the cost.", lower_bound=0
)
_PRICE_OUT = flags.DEFINE_float(
    "price_out", 0.0, "recaption: likewise of the answers.", lower_bound=0
)
_LIMIT = flags.DEFINE_integer(
    "limit", 0, "recaption: only the first so many captions. 0: all.", lower_bound=0
)
_KEY = flags.DEFINE_string(
    "api_key_env", "", "recaption: environment variable that holds the key, if any."
)


def request(output: str, tokenizer: str, workers: int) -> recaption.Request:
    """What the flags ask for; ValueError where they can't be met."""
    key = chat.key(_KEY.value, recaption.FLAGS.key)
    endpoint = Endpoint(_ENDPOINT.value, _MODEL.value, key, _MAX_TOKENS.value)
    return recaption.Request(
        output=output,
        endpoint=endpoint,
        corpus=_CORPUS.value,
        prompt=_prompt(),
        tokenizer=tokenizer,
        manner=Manner(_CONCURRENCY.value, _PER_MINUTE.value),
        limit=_LIMIT.value,
        price_in=_PRICE_IN.value,
        price_out=_PRICE_OUT.value,
        workers=workers,
    )


def _prompt() -> str:
    path = _PROMPT_FILE.value
    if path and _PROMPT.value:
        raise ValueError("--prompt and --prompt_file: give one of them")
    if not path:
        return _PROMPT.value or recaption.PROMPT
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--prompt_file={path}: can't be read ({error})") from error
