"""The replay of real dumps: FLOPs are exact, and another tool finds the same times."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import estimate_programs
import pytest

from mmjax import hlo
from mmjax.estimate import compiling, parts, replay, topologies

pytestmark = pytest.mark.extra
CHIPS = ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"]


@pytest.fixture(scope="module", params=CHIPS)
def dump(request, tmp_path_factory) -> tuple[topologies.Topology, pathlib.Path]:
    """A topology, and a small program as scheduled for it."""
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    folder = tmp_path_factory.mktemp("dump")
    environment = compiling.environment(compiling.dumping(folder))
    subprocess.run(
        [sys.executable, estimate_programs.__file__, request.param],
        env=environment,
        check=True,
        timeout=300,
    )
    (program,) = folder.glob(f"*{compiling.STEP}*{compiling.PROGRAM}.txt")
    return topologies.parse(request.param), program


def played(dump):
    topology, program = dump
    with program.open() as lines:
        return replay.replay(hlo.parse(lines), topology.generation)


def test_the_products_of_a_program_are_all_counted(dump):
    s = estimate_programs
    one = 2 * s.ROWS * s.WIDTH * s.HIDDEN
    # Two products forward, one of them again (the other's result isn't needed), and
    # two gradients of each.
    expected = s.LAYERS * one * (2 + 1 + 4)
    assert parts.executed(played(dump).events) == expected


def test_time_is_between_what_the_peak_allows_and_a_tenth_of_it(dump):
    found, generation = played(dump), dump[0].generation
    least = parts.executed(found.events) / generation.peak
    assert least < found.seconds < 10 * least
    assert not found.notes


def test_another_tools_replay_agrees_within_a_hundredth(dump, real_data):
    peer = real_data.parent / "bench" / "tpu_cycles.py"
    if not peer.exists():
        pytest.skip(f"no {peer.name} beside the test data")
    topology, program = dump
    command = [sys.executable, str(peer), str(program), "--json"]
    command += ["--chip", topology.generation.name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs, ours = json.loads(done.stdout), played(dump)
    assert 1000 * ours.seconds == pytest.approx(theirs["step_ms"], rel=0.01)
    assert parts.executed(ours.events) / 1e12 == pytest.approx(
        theirs["hardware_tflop"], rel=0.01
    )
    waits = parts.by_kind(ours.events)["collectives"]
    exposed = theirs["breakdown_ms"].get("exposed collectives", 0)
    assert 1000 * waits == pytest.approx(exposed, rel=0.01, abs=0.01)
