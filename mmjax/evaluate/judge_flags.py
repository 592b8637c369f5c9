"""The flags that say which model judges open answers, if any does."""

from absl import flags
from absl.flags import FlagValues

from data_pipelines.endpoint import chat
from data_pipelines.endpoint.asking import Manner
from data_pipelines.endpoint.chat import Endpoint, Flags
from mmjax.evaluate.judging import Judge

_NAMES = Flags("--judge", "--judge_model", "--judge_key_env")
_MAX_TOKENS = 64  # a yes needs few; a judge that explains itself shows that it does
_TEMPERATURE = 0.0


def define(values: FlagValues) -> None:
    """Defines the flags."""
    for name, help_string in (
        (
            "judge",
            "An OpenAI-compatible address, as http://host:8000/v1, of a model that "
            "says of open answers whether they mean the references. Default: none.",
        ),
        ("judge_model", "The judge's model."),
        ("judge_key_env", "Environment variable that holds its key, if any."),
    ):
        flags.DEFINE_string(name, "", help_string, flag_values=values)
    start = Manner()
    for name, default, help_string in (
        ("judge_concurrency", start.concurrency, "Questions to the judge at a time."),
        ("judge_max_tokens", _MAX_TOKENS, "Of a reply; more where it thinks aloud."),
    ):
        flags.DEFINE_integer(
            name, default, help_string, lower_bound=1, flag_values=values
        )
    flags.DEFINE_float(
        "judge_requests_per_minute", start.per_minute, "At most so many.",
        lower_bound=0.01, flag_values=values,
    )  # fmt: skip


def judge(values: FlagValues) -> Judge | None:
    """The judge that the flags name; ValueError where it can't be."""
    if not values.judge:
        for name in ("judge_model", "judge_key_env"):
            if values[name].value:
                raise ValueError(f"--{name}: goes with --judge, the judge's address")
        return None
    key = chat.key(values.judge_key_env, _NAMES.key)
    endpoint = Endpoint(
        values.judge,
        values.judge_model,
        key,
        values.judge_max_tokens,
        temperature=_TEMPERATURE,
    )
    manner = Manner(values.judge_concurrency, values.judge_requests_per_minute)
    return Judge(chat.check(endpoint, _NAMES), manner)
