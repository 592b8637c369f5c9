"""The command line: every mistake of the user is one clear line."""

import pathlib
import subprocess
import sys
import textwrap

import pytest
from absl import flags

from mmjax import cli

CONFIG = """
from mmjax import config
def get_config():
    return config.Config(steps=5000)
"""


def parse(tmp_path, *arguments, config=CONFIG):
    """What `cli.parse` makes of flags, the config file being config.py."""
    path = tmp_path / "config.py"
    path.write_text(config)
    sys.modules.pop("config_config", None)  # ml_collections loads into the old module
    argv = ["program", f"--config={path}", f"--workdir={tmp_path}", *arguments]
    values = flags.FlagValues()
    cli.define(values, argv)
    return cli.parse(argv, values)


def problem(tmp_path, *arguments, config=CONFIG):
    with pytest.raises(ValueError, match=r"\S") as caught:
        parse(tmp_path, *arguments, config=config)
    return str(caught.value)


def test_overrides_reach_numbers_tuples_and_fields_inside_tuples(tmp_path):
    launch = parse(
        tmp_path,
        "--config.optim.peak_lr=1",
        "--config.mixture.weights=1,2,3",
        "--config.data.sources[1].name=pages",
        "--noconfig.log.tensorboard",
        "--config.optim.frozen=vit",
        "--config.optim.frozen=connector",
        "--profile_steps=100:105",
    )
    assert launch.config.steps == 5000
    assert launch.config.optim.peak_lr == 1.0
    assert launch.config.mixture.weights == (1, 2, 3)
    assert launch.config.data.sources[1].name == "pages"
    assert launch.config.optim.frozen == ("vit", "connector")
    assert not launch.config.log.tensorboard
    assert launch.workdir == tmp_path
    assert launch.profile == range(100, 105)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--config.optim.peak_l=1", "config.optim.peak_l: no such field; did you mean "
         "config.optim.peak_lr?"),
        ("--config.peak_lr=1", "config.peak_lr: no such field; did you mean "
         "config.optim.peak_lr?"),
        ("--config.data.sources[0].nam=x", "did you mean config.data.sources[0].name?"),
        ("--config.data.sources[7].name=x", "beyond the end of its tuple"),
        ("--config.optim=x", "config.optim: has fields of its own"),
        ("--config.steps=many", "--config.steps=many: invalid literal for int()"),
        ("--config.mixture.weights=1.5,1,1", "config.mixture.weights[0]=1.5: must be "
         "int"),
        ("--config.model.vit.heads=7", "model.vit.heads=7: must divide"),
        ("--config.mesh.data=3", "mesh.data=3: must divide pool groups of a "
         "microbatch=32"),
        ("--profile_steps=100", "--profile_steps=100: must be START:STOP"),
        ("--profile_steps=4999:5001", "and STOP at most steps=5000"),
        ("--wrkdir=x", "Did you mean: workdir"),
        ("stray", "'stray': not a flag"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_with_what_was_meant(tmp_path, argument, line):
    text = problem(tmp_path, argument)
    assert line in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("def get_config(", "config.py, line 1: '(' was never closed"),
        ("def get_config():\n    return 1 / 0", "line 2: ZeroDivisionError"),
        ("def get_config():\n    int('x')", "line 2: ValueError: invalid literal"),
        ("def get_config():\n    open('/no/such')", "line 2: FileNotFoundError"),
        ("import no_such_module", "line 1: ModuleNotFoundError"),
        ("x = 1", "has no function get_config()"),
        ("def get_config():\n    return {}", "must be a mmjax.config.Config"),
        ("from mmjax.config import Config\ndef get_config():\n"
         "    return Config(stesp=1)", "unexpected keyword argument 'stesp'"),
    ],
)  # fmt: skip
def test_a_broken_config_file_is_told_by_line(tmp_path, file, line):
    text = problem(tmp_path, config=file)
    assert line in text
    assert "\n" not in text


def test_a_config_file_cannot_invent_fields_or_types(tmp_path):
    text = problem(
        tmp_path,
        config=CONFIG.replace("return ", "made = ")
        + "    made.optim.peak_rl = 1\n    made.steps = '5'\n    return made\n",
    )
    lines = text.splitlines()
    assert "config.steps='5': must be int" in lines
    assert any("did you mean config.optim.peak_lr?" in line for line in lines)


def test_a_missing_config_is_named(tmp_path):
    values = flags.FlagValues()
    cli.define(values, ["program"])
    with pytest.raises(ValueError, match="--config is missing"):
        cli.parse(["program"], values)
    with pytest.raises(ValueError, match=r"--config=nowhere\.py: no such file"):
        cli.parse(["program", "--config=nowhere.py"], values)


def test_a_run_without_workdir_lies_under_the_name_of_its_config(tmp_path):
    launch = parse(tmp_path, "--workdir=")
    assert launch.workdir == pathlib.Path.cwd() / "runs/config"


def test_a_process_number_lies_below_the_number_of_processes(tmp_path):
    several = ("--coordinator=localhost:1", "--processes=2")
    assert parse(tmp_path, *several, "--process_id=1").process_id == 1
    assert "--process_id=2" in problem(tmp_path, *several, "--process_id=2")
    assert "need --coordinator=HOST:PORT" in problem(tmp_path, "--processes=2")
    assert parse(tmp_path, "--coordinator=auto").coordinator == "auto"


PROGRAM = """
import sys
from mmjax import cli, config
from mmjax.validation import resolve_mesh
def program(launch):
    if launch.config.seed == 1:
        resolve_mesh(config.Config(mesh=config.Mesh(data=3)), 8)
    if launch.config.seed == 2:
        int("a bug")
    print("ran", launch.config.seed)
cli.run(program)
"""


def run(tmp_path, seed):
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    return subprocess.run(
        [sys.executable, tmp_path / "program.py", f"--config={tmp_path}/config.py",
         f"--workdir={tmp_path}", f"--config.seed={seed}"],
        capture_output=True, text=True,
    )  # fmt: skip


def test_user_errors_are_one_line_and_bugs_keep_their_traceback(tmp_path):
    fine, user, bug = (run(tmp_path, seed) for seed in range(3))
    assert (fine.returncode, fine.stdout) == (0, "ran 0\n")
    assert user.returncode == cli.USER_ERROR
    mesh = "data=3 x fsdp=1 x tensor=1 x expert=1 x context=1"
    assert user.stderr.startswith(f"mmjax: error: mesh: {mesh} must")
    assert len(user.stderr.splitlines()) == 1
    assert bug.returncode == 1
    assert "Traceback" in bug.stderr
    assert "invalid literal" in bug.stderr
