"""The program serves the model of a run, and tells mistakes in one line."""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import programs
import pytest
import serving
import talking
from serving import Call

import mmjax.serve
from data_pipelines.records import Text
from mmjax import answering, checkpoint, config
from mmjax.serve import __main__ as program

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=nowhere", "--port=0"], "nowhere: no such folder of checkpoints"),
        (["--workdir=w", "--batch=0"], "--batch=0: must be at least 1"),
        (["--workdir=w", "--queue=0"], "--queue=0: must be at least 1"),
        (["--workdir=w", "--max_request_bytes=0"], "--max_request_bytes=0"),
        (["--workdir=w", "--max_image_pixels=-1"], "--max_image_pixels=-1"),
        (["--workdir=w", "--timeout=0"], "--timeout=0.0: must be above 0"),
        (["--workdir=w", "--timeout=nan"], "--timeout=nan: must be above 0"),
        (["--workdir=w", "--new_tokens=0"], "--new_tokens=0: must be at least 1"),
        (["--workdir=w", "--images=no"], "--images=no: no such folder"),
        (["--workdir=w", "--template=x"], "--template=x: must hold {text} once"),
        (["--workdir=w", "--port=99999"], "--port=99999"),
        (["--workdir=w", "--host=no.such.host.invalid"], "--host=no.such.host.invalid"),
        (["--workdir=w", "what"], "'what': not a flag"),
    ],
)
def test_mistakes_are_told_by_name(arguments, message):
    with pytest.raises(ValueError, match=r"[\s\S]") as caught:
        program.main(["serve", *arguments])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_port_in_use_is_told_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port={port}: Address already in use"):
            program.main(["serve", "--workdir=nowhere", f"--port={port}"])


def test_without_the_extra_the_command_that_installs_it_is_told(monkeypatch):
    for name in ("app", "running"):
        monkeypatch.delattr(mmjax.serve, name, raising=False)
        monkeypatch.delitem(sys.modules, f"mmjax.serve.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(ValueError, match=r"pip install 'mmjax\[serve\]'"):
        program.main(["serve", "--workdir=w", "--port=0"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, and what its model says."""
    folder = tmp_path_factory.mktemp("program") / "myrun"
    folder.mkdir()
    made = talking.make(folder)
    meta = {"config": config.to_dict(made.config)}
    params = talking.parameters(made.config)
    checkpoint.save_weights(str(folder / "checkpoints"), params, meta)
    return folder, made


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_a_run_until_a_signal_ends_it(run, number):
    folder, answerer = run
    process = subprocess.Popen(
        [sys.executable, "-m", "mmjax.serve", f"--workdir={folder}", "--port=0"],
        cwd=ROOT, env=programs.environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
        match = re.fullmatch(r"myrun is served at http://127\.0\.0\.1:(\d+)\n", line)
        assert match, line + process.stderr.read()
        site = serving.Site(int(match[1]), None)
        asked = answering.Request((Text("a red"),), 40)
        expected = answering.answer(answerer, [asked])[0].text
        assert site.ask("a red", max_tokens=40).text == expected
        running = Call(site.ask, "a red " * 9, max_tokens=30)  # is compiled first
        serving.until(lambda: site.metrics()["mmjax_queue_length"] == 0)
        process.send_signal(number)
        assert running.result().status in (200, 503)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, ""), err
        assert f"mmjax: {number.name}: ending\n" in err
        assert "Traceback" not in err
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
