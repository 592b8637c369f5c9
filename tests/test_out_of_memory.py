"""Memory that runs out: real errors of runs that ask for terabytes, and their words."""

import dataclasses
import json
import re
import sys

import jax.numpy as jnp
import pytest
import tiny_run
from absl import flags

from mmjax import (
    cli,
    config,
    inventory,
    out_of_memory,
    run_setup,
    step,
    train,
    validation,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_config(world, **decoder):
    """The tiny run, a row a device, without held-out losses on the way."""
    made = tiny_run.make_config(
        world, evaluation=config.Evaluation(every=0, rows=4, samples=0)
    )
    wide = dataclasses.replace(made.model.decoder, **decoder)
    model = dataclasses.replace(made.model, decoder=wide, attention="reference")
    return dataclasses.replace(made, model=model)


def greedy(world):
    """A run of few parameters; scores of a row take 256 TiB, which nobody can have."""
    made = make_config(world, heads=2**18, kv_heads=1, head_size=2)
    data = dataclasses.replace(made.data, row_tokens=2**14, max_images_per_row=4)
    return dataclasses.replace(made, data=data)


@pytest.fixture(scope="module")
def failed(world, tmp_path_factory):
    """What the run tells that asks for too much, and its workdir."""
    workdir = tmp_path_factory.mktemp("runs") / "greedy"
    with pytest.raises(ValueError, match="out of memory") as told:
        train.train(greedy(world), workdir)
    assert cli.for_the_user(told.value)
    return str(told.value).splitlines(), workdir


def test_a_step_that_asks_for_too_much_ends_the_run_with_what_is_known(failed):
    lines, _ = failed
    first, holds, state, written, *_ = lines
    assert re.fullmatch(
        r"out of memory, in step \d or the one before: [\d.]+ TiB could not be had, "
        r"this machine has [\d.]+ GiB",
        first,
    )
    shares = dict(re.findall(r"(\w+) [\d.]+ [MGT]iB \((\d+)%\)", holds))
    expected = ["parameters", "moments", "gradients", "batch", "activations"]
    assert list(shares) == expected
    assert shares["activations"] == "100"
    assert re.search(
        r"largest of the state: [\d.]+ MiB decoder/blocks/attention/(query|out)/kernel",
        state,
    )
    assert re.search(
        r"that the step writes: 256.00 TiB f32\[\d[\d,]*\] \((forward|backward): "
        r"decoder/blocks/attention/",
        written,
    )


@pytest.mark.slow
def test_the_workdir_of_a_run_without_memory_is_sound(world, failed):
    """It has a profile of memory and no checkpoint; the repaired run goes on in it."""
    lines, workdir = failed
    profile = workdir / out_of_memory.PROFILE
    assert profile.stat().st_size > 0
    assert lines[-1].startswith(f"what was held: {profile}")
    assert not list((workdir / "checkpoints").iterdir())
    assert tiny_run.records(workdir) == []
    train.train(make_config(world), workdir)
    assert [line["step"] for line in tiny_run.records(workdir)] == [2, 4, 6]


def test_a_state_that_does_not_fit_is_told_before_the_step_is_compiled(
    world, tmp_path, monkeypatch
):
    def init_state(*_):
        return jnp.zeros(2**48, jnp.uint8).block_until_ready()  # jax refuses

    monkeypatch.setattr(step, "init_state", init_state)
    with pytest.raises(ValueError, match="making or restoring the state") as told:
        train.train(make_config(world), tmp_path)
    first, holds, *_ = str(told.value).splitlines()
    assert ": 256.00 TiB could not be had, " in first
    assert holds.endswith("; activations are not known yet")


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    made = make_config(world)
    vit = dataclasses.replace(made.model.vit, remat="attention")
    made.model = dataclasses.replace(made.model, vit=vit)
    made.data = dataclasses.replace(made.data, rows_per_batch=64)
    made.mesh = config.Mesh(4, 2, 1)
    return run_setup.set_up(made, tmp_path_factory.mktemp("runs"))


def parsed(made, flag_words, tmp_path):
    """The config of a command line with these flags behind --config."""
    path = tmp_path / "config.py"
    text = json.dumps(config.to_dict(made))
    path.write_text(
        "import json\nfrom mmjax import config\n"
        f"def get_config():\n    return config.from_dict(json.loads({text!r}))\n"
    )
    sys.modules.pop("config_config", None)  # ml_collections loads into the old module
    argv = ["program", f"--config={path}", *flag_words]
    values = flags.FlagValues()
    cli.define(values, argv)
    return cli.parse(argv, values).config


def test_each_advice_is_a_flag_that_gives_another_and_valid_config(run, tmp_path):
    *found, last = out_of_memory.advice(run)
    assert last == "more devices"
    assert found == [
        "--config.optim.accumulate=2 (now 1)",
        "--config.model.vit.remat=full (now attention)",
        "--config.model.decoder.remat=attention (now none)",
        "--config.mesh.fsdp=4 (now 2) --config.mesh.data=2 (now 4)",
        "--config.data.rows_per_batch=32 (now 64)",
    ]
    for words in found:
        changed = parsed(run.config, re.findall(r"--\S+", words), tmp_path)
        assert changed != run.config
        validation.resolve_mesh(changed, 8)


def test_advice_that_would_break_a_rule_is_not_given(run):
    """With one pool group on each shard of `data`, a batch can't be cut or halved."""
    data = dataclasses.replace(run.config.data, rows_per_batch=32)
    less = run._replace(config=dataclasses.replace(run.config, data=data))
    told = " ".join(out_of_memory.advice(less))
    assert "accumulate" not in told
    assert "rows_per_batch" not in told
    assert "mesh.fsdp=4" in told


def test_what_is_held_adds_up_and_the_state_s_pieces_are_all_of_it(run):
    held = out_of_memory.held(run, None)
    sizes = inventory.memory(
        run.model, run.config, run.mesh, run.train.pipeline.capacity
    )
    assert held == sizes
    pieces = out_of_memory.of_state(run)
    assert [p.size for p in pieces] == sorted((p.size for p in pieces), reverse=True)
    assert pieces[0].name == "decoder/embedding"
    leaf = 512 * 16 * 4 // 2  # over fsdp
    assert pieces[0].size == 3 * leaf  # with two moments


def test_other_errors_stay_as_they_are(run):
    with out_of_memory.explained(run, "x"):
        pass
    out_of_memory.explain(RuntimeError("INTERNAL: a bug"), run, "x")
    with pytest.raises(ValueError, match="RESOURCE_EXHAUSTED: in words of their own"):
        out_of_memory.explain(
            RuntimeError("RESOURCE_EXHAUSTED: in words of their own\nmore"), run, "x"
        )
