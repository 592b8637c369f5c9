"""The dry run: the figures of the run itself, before it runs."""

import json

import pytest
import synthetic
import tiny_run

from configs import mm1_3b
from data_pipelines import pipeline, read_ahead
from data_pipelines.prepare import sample_world
from mmjax import config, dry_run
from mmjax.batch import Share


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("dry")
    sample_world.ensure(root, tiny_run.spec(), progress=False)
    return tiny_run.make_config(root, steps=7)


def sections(made):
    """{title: its lines} of what is printed."""
    found = {}
    for text in dry_run.lines(made):
        if text.startswith("\n== "):
            lines = found.setdefault(text[4:], [])
        else:
            lines += text.splitlines()
    return found


@pytest.fixture(scope="module")
def shown(made):
    with synthetic.quick_compilation():
        return sections(made)


def numbers(line):
    """The whole numbers of a line of a table."""
    return [
        int(w.replace(",", "")) for w in line.split() if w.replace(",", "").isdigit()
    ]


def test_the_resolved_config_is_shown_with_mesh_and_capacity(made, shown):
    resolved = config.from_dict(json.loads("\n".join(shown["config"])))
    assert resolved.mesh == config.Mesh(1, 8, 1)
    assert resolved.data.pool_capacity == pipeline.open(made).capacity


def test_every_parameter_has_a_line_and_their_sizes_add_up(shown):
    lines = shown["parameters"]
    end = next(i for i, line in enumerate(lines) if line.startswith("connector:"))
    assert sum(numbers(line)[0] for line in lines[1:end]) == numbers(lines[-1])[0]
    embedding = next(line for line in lines if line.startswith("decoder/embedding"))
    assert embedding.split()[1:3] == ["512x16", "8,192"]
    assert embedding.split()[-3:] == ["yes", "yes", "1"]  # trained, decayed, rate


def test_the_mixture_is_that_of_the_batches(made, shown):
    opened = pipeline.open(made)
    counts = [opened.plan.step_counts(step) for step in range(made.steps)]
    for place, source in enumerate(made.data.sources):
        line = next(x for x in shown["mixture"] if x.startswith(source.name))
        expected = [sum(int(c[n][place]) for c in counts) for n in dry_run.COUNTS]
        assert numbers(line) == expected
    rows = next(x for x in shown["mixture"] if x.startswith("in all"))
    assert numbers(rows)[0] == made.steps * tiny_run.ROWS


@pytest.mark.slow
def test_mm1_s_own_rows_are_shown_where_they_differ(made):
    many = sections(tiny_run.make_config(made.data.root, data=_rows_of(made, 128)))
    assert "with MM1's own rows" in "\n".join(many["mixture"])


def _rows_of(made, tokens):
    """Rows that hold more images than MM1's, and no step to compile for them."""
    return config.Data(**{**vars(made.data), "row_tokens": tokens})


def test_memory_is_that_of_the_compiled_step(made, shown):
    text = "\n".join(shown["memory of one device"])
    for name in ("parameters", "moments", "gradients", "batch", "temporaries"):
        assert name in text
    assert "as compiled here" in text
    capacity = pipeline.open(made).capacity
    share = Share((0, 1), (0, 8), (0, capacity))
    held = read_ahead.held(made, capacity, share)
    size = f"{held.size / 2**20:.1f} MiB"
    line = f"{size} of host memory for a process: {held.batches} batches"
    assert f"read-ahead   {line}" in text


def test_a_model_for_a_pod_is_described_on_a_laptop():
    shown = sections(mm1_3b.get_config())
    assert shown["mesh"] == [
        "data 1 x fsdp 16 x tensor 1 x expert 1 x context 1: "
        "not this machine's 8 device(s)",
        "attention: by the devices that there will be",
    ]
    assert shown["data"] == ["not counted: data.root='data/mm1': no such folder"]
    flops = "\n".join(shown["FLOPs of a step"])
    assert " 3.02T " in flops
    assert " 74.7T " in flops
    memory = "\n".join(shown["memory of one device"])
    assert "of host memory for a process that reads whole batches" in memory
    assert "not known: the mesh is not this machine's" in memory
