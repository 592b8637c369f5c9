import subprocess
import sys

import pytest
import weight_samples as samples

from mmjax.convert import __main__ as program


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["inport"], "'inport': the commands are import, export"),
        (["import"], "--out is missing"),
        (["import", "--out=x"], "what to import: --model, or one or more of"),
        (["import", "--out=x", "--model=a", "--decoder=b"], "what to import"),
        (["import", "--out=x", "--decodr=b"], "decodr"),
        (["import", "--out=x", "--decoder=b", "--features=0"], "features"),
        (["import", "--out=none/x", "--decoder=b"], "there is no folder none"),
        (["import", "--out=x", "--decoder=none"], "none: no such folder or file"),
        (["export", "--out=x"], "--checkpoint is missing"),
        (["export", "--out=x", "--checkpoint=none"], "none: no such folder"),
    ],
)
def test_a_mistake_is_told_by_name(tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=reason):
        program.main(["convert", *arguments])
    assert list(tmp_path.iterdir()) == []


def test_the_commands_are_explained(capsys):
    program.main(["convert", "--help"])
    program.main(["convert", "import", "--help"])
    program.main(["convert", "export", "--help"])
    shown = capsys.readouterr().out
    assert "--allow: Pattern of our paths" in shown
    assert "--shard_gb: Size of a file of weights" in shown


def test_weights_go_out_and_in_and_errors_are_lines(tmp_path, capsys):
    source = samples.saved(tmp_path / "run", samples.llava())
    theirs, back = tmp_path / "theirs", tmp_path / "back"
    program.main(["convert", "export", f"--checkpoint={source}", f"--out={theirs}"])
    program.main(["convert", "import", f"--model={theirs}", f"--out={back}"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"a LlavaForConditionalGeneration of {source}"
    assert "  connector: 416 numbers in 4 parameters, from 4 tensors" in lines
    assert lines[-1] == f"written: {back} (0.000 GB)"
    done = subprocess.run(
        [sys.executable, "-m", "mmjax.convert", "import", f"--model={theirs}",
         f"--out={back}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"mmjax: error: --out={back}: is there already; name a folder that isn't"
    )
