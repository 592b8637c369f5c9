"""The command that lets evaluation libraries drive a checkpoint."""

import sys

import pytest

from mmjax.harness import __main__ as harness


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=w"], "--tasks is missing"),
        (["--workdir=w", "--tasks=a", "--batch=0"], "--batch=0: must be at least 1"),
        (["--workdir=w", "--library=mine"], "lm_eval|lmms_eval"),
    ],
)
def test_mistakes_are_told_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        harness.main(["harness", *arguments])


@pytest.mark.parametrize(
    ("library", "extra"), [("lm_eval", "harness"), ("lmms_eval", "lmms")]
)
def test_without_the_library_the_command_to_install_it_is_told(
    library, extra, monkeypatch
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ValueError, match=rf"imported .* pip install 'mmjax\[{extra}\]'"
    ):
        harness.main(["harness", "--workdir=w", "--tasks=a", f"--library={library}"])
