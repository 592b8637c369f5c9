import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "tpu.sh"
NAMED = ("--name=pod", "--zone=us-east5-a")

# Stands in for gcloud: workers are folders beside it, and ssh is a shell in them.
GCLOUD = """#!{python}
import pathlib, shutil, subprocess, sys
here, words = pathlib.Path(sys.argv[0]).parent, sys.argv[1:]
with (here / "calls").open("a") as calls:
    print(*words, sep="\\x1f", file=calls)
assert words[:3] == ["compute", "tpus", "tpu-vm"], words
flags = dict(w.split("=", 1) for w in words[4:] if w.startswith("--") and "=" in w)
plain = [word for word in words[4:] if not word.startswith("--")]
workers = ["0", "1"] if flags["--worker"] == "all" else [flags["--worker"]]
for worker in workers:
    home = here / ("worker-" + worker)
    if words[3] == "scp":
        shutil.copy(plain[0], home / plain[1].split(":")[1])
    else:
        command = ["bash", "-c", flags["--command"]]
        done = subprocess.run(command, cwd=home, env={{
            "HOME": str(home), "PATH": "/usr/bin:/bin", "WORKER": worker}})
        if done.returncode:
            sys.exit(done.returncode)
"""
# Stands in for uv: what it makes is a python that notes its arguments and waits.
UV = """#!/usr/bin/env bash
if [[ $1 == venv ]]; then
  mkdir -p .venv/bin
  cat >.venv/bin/python <<'TEXT'
#!/usr/bin/env bash
printf '%s\\n' "$@" >arguments
echo "worker $WORKER at work"
trap 'echo saved; exit 0' TERM
for _ in {1..300}; do sleep 0.1; done
TEXT
  chmod +x .venv/bin/python
fi
echo "$@" >>uv-calls
"""


@pytest.fixture
def cloud(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with gcloud, two workers, and a clone with the script in it."""
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(GCLOUD.format(python=sys.executable))
    gcloud.chmod(0o755)
    for worker in ("worker-0", "worker-1"):
        folder = tmp_path / worker / ".local" / "bin"
        folder.mkdir(parents=True)
        (folder / "uv").write_text(UV)
        (folder / "uv").chmod(0o755)
    launch = tmp_path / "clone" / "launch"
    launch.mkdir(parents=True)
    shutil.copy(SCRIPT, launch)
    (launch.parent / "constraints.txt").write_text("jax\n")
    git = ["git", "-C", str(launch.parent), "-c", "user.name=a", "-c", "user.email=b@c"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    return tmp_path


def launch(
    *arguments: str, path: str = os.environ["PATH"], script: pathlib.Path = SCRIPT
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": path},
    )


def in_cloud(cloud: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    path = f"{cloud}:{os.environ['PATH']}"
    script = cloud / "clone" / "launch" / "tpu.sh"
    return launch(*NAMED, *arguments, path=path, script=script)


def test_every_worker_gets_the_commit_and_runs_it_with_the_very_flags(cloud):
    flags = ["--config=configs/mm1_3b.py", '--workdir=/mnt/it\'s a "run"/$HOME;x']
    done = in_cloud(cloud, "--", *flags)
    assert done.returncode == 0, done.stderr
    try:
        for worker in ("0", "1"):
            home = cloud / f"worker-{worker}" / "mmjax"
            assert (home / "constraints.txt").read_text() == "jax\n"
            wait_for(home / "train.log", f"worker {worker} at work\n")
            found = (home / "arguments").read_text().splitlines()
            assert found == ["-m", "mmjax.train", "--coordinator=auto", *flags]
            assert "pip install" in (home / "uv-calls").read_text()
    finally:
        stopped = in_cloud(cloud, "--stop")
    assert stopped.returncode == 0, stopped.stderr
    for worker in ("0", "1"):
        log = cloud / f"worker-{worker}" / "mmjax" / "train.log"
        wait_for(log, f"worker {worker} at work\nsaved\n")


def wait_for(path: pathlib.Path, text: str) -> None:
    """Returns when the file has this text; fails after 10 seconds."""
    wait = (
        f'for i in {{1..100}}; do [ "$(cat "{path}")" = "$1" ] && exit; sleep 0.1; done'
    )
    subprocess.run(["bash", "-c", wait, "wait", text.rstrip("\n")], check=False)
    assert path.read_text() == text


def test_a_second_start_is_refused_and_one_after_the_end_sends_the_new_commit(cloud):
    assert in_cloud(cloud, "--", "--config=x").returncode == 0
    try:
        again = in_cloud(cloud, "--", "--config=x")
        assert again.returncode != 0
        assert "a training is running here; end it with --stop" in again.stderr
    finally:
        in_cloud(cloud, "--stop")
    wait_for(cloud / "worker-1" / "mmjax" / "train.log", "worker 1 at work\nsaved\n")
    clone = cloud / "clone"
    (clone / "constraints.txt").write_text("jax==1\n")
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=b@c"]
    subprocess.run([*git, "commit", "-q", "-a", "-m", "second"], check=True)
    assert in_cloud(cloud, "--", "--config=x").returncode == 0
    in_cloud(cloud, "--stop")
    sent = cloud / "worker-1" / "mmjax" / "constraints.txt"
    assert sent.read_text() == "jax==1\n"


def test_a_dry_run_prints_the_very_commands_and_runs_none(cloud):
    flags = ["--", "--config=configs/mm1_3b.py", "--workdir=/mnt/it's a run"]
    printed = in_cloud(cloud, "--project=p", "--internal-ip", "--dry-run", *flags)
    assert printed.returncode == 0
    assert not (cloud / "calls").exists()
    script = "git() { :; }\ngcloud() { printf '%s\\x1f' \"$@\"; echo; }\n"
    read_back = subprocess.run(
        ["bash", "-c", script + printed.stdout], capture_output=True, text=True
    )
    calls = read_back.stdout.split("\x1f\n")[:-1]
    words = [call.split("\x1f") for call in calls]
    assert [call[3] for call in words] == ["scp", "ssh", "ssh"]
    for call in words:
        for flag in ("--zone=us-east5-a", "--project=p", "--internal-ip"):
            assert flag in call
        assert "--worker=all" in call
    assert "'--workdir=/mnt/it'\\''s a run'" in words[2][-1]


def test_a_repository_is_fetched_by_the_workers_themselves():
    found = launch(
        *NAMED, "--dry-run", "--repo=https://example.com/x.git", "--ref=v1", "--", "--x"
    )
    assert "git fetch -q https://example.com/x.git v1" in found.stdout
    assert "scp" not in found.stdout


def test_the_log_is_that_of_worker_0_and_nothing_is_started():
    found = launch(*NAMED, "--log", "--dry-run")
    assert found.stdout == (
        "gcloud compute tpus tpu-vm ssh pod --zone=us-east5-a --worker=0 "
        "'--command=tail -n 50 -F mmjax/train.log'\n"
    )


def test_what_fails_on_a_worker_fails_here_and_nothing_follows(cloud):
    done = in_cloud(cloud, "--stop")
    assert done.returncode != 0
    assert len((cloud / "calls").read_text().splitlines()) == 1


def test_changes_that_are_not_committed_are_mentioned(cloud):
    (cloud / "clone" / "constraints.txt").write_text("changed")
    done = in_cloud(cloud, "--dry-run", "--", "--config=x")
    assert "note: changes that are not committed are not sent" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--zone=z", "--", "--x"], "--name is missing"),
        (["--name=n", "--", "--x"], "--zone is missing"),
        ([*NAMED], "no flags of mmjax.train after --"),
        ([*NAMED, "--config=x"], "--config=x: not a flag of this script"),
        ([*NAMED, "--folder=a b", "--", "--x"], "--folder=a b: must be a plain name"),
        ([*NAMED, "--ref=v1", "--", "--x"], "--ref=v1: needs --repo"),
        ([*NAMED, "--log", "--", "--x"], "--x: --log takes no flags"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(arguments, message):
    found = launch(*arguments)
    assert found.returncode == 2
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith(f"launch/tpu.sh: error: {message}")


def test_without_gcloud_one_line_says_where_to_get_it(tmp_path):
    for tool in ("bash", "env", "cat", "git", "dirname", "mktemp"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    done = launch(*NAMED, "--", "--config=x", path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("launch/tpu.sh: error: gcloud is not installed")
