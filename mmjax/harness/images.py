"""A model for lmms-eval: prompts with images."""

import io
import re
from collections.abc import Sequence
from typing import Any

import PIL.Image

from data_pipelines.records import Image
from mmjax import answering, prompt_parts
from mmjax.answering import Answerer
from mmjax.harness import asking

# Where a task says itself what goes where.
_MARK = re.compile(r" ?<image(?: \d+)?>\n?")
_NO_SCORES = (
    "lmms-eval takes answers as texts and loses the log-likelihoods of choices; "
    "mmjax.evaluate scores by them"
)


def model(answerer: Answerer, batch: int = 16) -> Any:
    """The answerer as an `lmms_eval.api.model.lmms`; ImportError without the library.

    Images stand where the prompt has `<image>`, else before it, in their order. A
    ValueError for what doesn't fit a row, what is no image, and tasks of several rounds
    or of log-likelihoods (lmms-eval 0.7 keeps what a model answers as text).
    """
    from lmms_eval.api.model import lmms

    class Model(lmms):
        """Answers requests of one round in batches."""

        def generate_until(self, requests: list[Any]) -> list[str]:
            asked = [self._request(*request.args) for request in requests]
            return asking.said(answerer, asked, batch)

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise ValueError(_NO_SCORES)

        def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
            raise ValueError("a task of several rounds can't be asked here")

        def _request(
            self,
            prompt: str,
            how: dict[str, Any],
            to_images: Any,
            number: int,
            task: str,
            split: str,
        ) -> answering.Request:
            example = self.task_dict[task][split][number]
            shown = to_images(example) if to_images else None
            return asking.request(parts(prompt, shown or []), how)

    return Model()


def parts(prompt: str, shown: Sequence[Any]) -> asking.Parts:
    """The prompt with its images, those of Pillow's kind. ValueError for others."""
    images = [_image(each) for each in shown]
    return prompt_parts.woven(_MARK.sub(prompt_parts.MARK, prompt), images)


def _image(shown: Any) -> Image:
    if not isinstance(shown, PIL.Image.Image):
        raise ValueError(f"a task shows a {type(shown).__name__}: only images are read")
    file = io.BytesIO()
    shown.convert("RGB").save(file, "PNG")  # without loss
    return answering.image(file.getvalue())
