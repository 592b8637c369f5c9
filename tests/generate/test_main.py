"""The program says what the model of a run says, and mistakes in one line."""

import json

import pytest
import talking

from mmjax import answering, checkpoint, config
from mmjax.generate import __main__ as program
from mmjax.prompt_parts import woven


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A checkpoint of a model, an image, and its answerer."""
    folder = tmp_path_factory.mktemp("run")
    answerer = talking.make(folder)
    made = answerer.config
    params = talking.parameters(made)
    meta = {"config": config.to_dict(made)}
    checkpoint.save_weights(str(folder / "checkpoints"), params, meta)
    (folder / "a.png").write_bytes(talking.image(0).data)
    return folder, answerer


def test_a_prompt_is_answered_as_the_model_of_the_checkpoint_says_it(run, capsys):
    folder, answerer = run
    command = ["generate", f"--workdir={folder}", f"--image={folder}/a.png",
               "--prompt=a red", "--new_tokens=5"]  # fmt: skip
    program.main(command)  # on 8 devices
    prompt = woven("a red", [answering.image(folder / "a.png")])
    expected = answering.answer(answerer, [answering.Request(prompt, 5)])[0].text
    assert capsys.readouterr().out == f"{expected}\n"


def test_help_shows_defaults_on_the_line_of_their_flag(capsys):
    program.main(["generate", "--help"])
    flags = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  --")]
    shown = {line.split(":")[0].strip(): line for line in flags}
    assert shown["--between"].endswith("(default: '\\n')")
    assert shown["--batch"].endswith("(default: 16)")
    assert "default" not in shown["--stop_id"]  # none: an empty list


def test_a_file_of_requests_is_answered(run, tmp_path, capsys):
    folder, _ = run
    (tmp_path / "asked.jsonl").write_text('{"id": 1, "prompt": "a"}\n')
    out = tmp_path / "said.jsonl"
    program.main(["generate", f"--workdir={folder}", f"--out={out}",
                  f"--requests={tmp_path}/asked.jsonl", "--new_tokens=3"])  # fmt: skip
    assert "1 of 1 requests answered, 0 of them failed" in capsys.readouterr().out
    assert json.loads(out.read_text())["tokens"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=nowhere"], "nowhere: no such folder of checkpoints"),
        (["--workdir=w", "--requests=r"], "must be given together"),
        (["--workdir=w", "--requests=r", "--out=o"], "--requests=r: no such file"),
        (["--workdir=w", "--batch=0"], "--batch=0: must be at least 1"),
        (["--workdir=w", "--template=x"], "--template=x: must hold {text}"),
        (["--workdir=w", "--cache=int8"], "cache"),
        (["--workdir=w", "what"], "'what': not a flag"),
    ],
)
def test_mistakes_are_told_by_name(arguments, message):
    with pytest.raises(ValueError, match=r"[\s\S]") as caught:
        program.main(["generate", *arguments])
    assert message in str(caught.value)
