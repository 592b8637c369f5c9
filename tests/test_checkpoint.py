import json
import os
import pathlib

import absl.logging
import jax
import numpy as np
import pytest
import synthetic
from short_form import slow_unless

from mmjax import checkpoint, optim, step
from mmjax import config as config_lib
from mmjax.models import vlm

META = {"config": {"steps": 8}, "position": {"row": 40}, "versions": {"jax": "x"}}


pytestmark = pytest.mark.usefixtures("quick_compilation")


def abstract(shape=synthetic.ONE, small=False, **model) -> step.State:
    """The abstract state of the tiny config with some of its decoder changed.

    With `small` moments are sliced over `data`, too, and kept in bfloat16.
    """
    dtype = "bfloat16" if small else "float32"
    config = synthetic.config(zero1=small, moments_dtype=dtype)
    for name, value in model.items():
        setattr(config.model.decoder, name, value)
    built = vlm.build(config.model)
    return step.abstract_state(built, config, synthetic.mesh(shape))


def numbers(shape=synthetic.ONE, small=False) -> step.State:
    """A state of random numbers, without compiling anything."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jax.device_put(
            rng.standard_normal(x.shape).astype(x.dtype), x.sharding
        ),
        abstract(shape, small),
    )


def opened(path: pathlib.Path, **settings) -> checkpoint.Checkpointer:
    return checkpoint.Checkpointer(str(path), config_lib.Checkpoint(**settings))


def saved(path: pathlib.Path, steps=(1,), **settings) -> step.State:
    """The state that was written at each of the steps."""
    state = numbers()
    writer = opened(path, **settings)
    for number in steps:
        writer.save(number, state, META)
    writer.close()
    return state


def assert_equal(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize(
    "shape", [synthetic.ONE, pytest.param(synthetic.EIGHT, marks=pytest.mark.slow)]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, shape):
    run = synthetic.run(shape)
    expected, curve = run.train(run.state(), 0, 6)
    state, _ = run.train(run.state(), 0, 3)
    writer = opened(tmp_path)
    writer.save(3, state, META)  # in the background, while the state is donated
    _, other = run.train(state, 3, 6)
    writer.close()
    wanted = step.abstract_state(run.model, run.config, run.mesh)
    reader = opened(tmp_path)
    found = reader.restore(wanted)
    reader.close()
    assert found is not None
    state, meta = found
    assert meta == META
    assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(
        lambda x: x.sharding, wanted
    )
    state, resumed = run.train(state, 3, 6)
    assert_equal(resumed, curve[3:])
    assert_equal(other, curve[3:])
    assert_equal(state, expected)


MESHES = ((synthetic.ONE, (2, 2, 2)), ((2, 2, 2), (1, 4, 1)))


@pytest.mark.parametrize("shapes", slow_unless(MESHES, MESHES[:1]))
def test_a_checkpoint_restores_onto_another_mesh(tmp_path, shapes):
    before, after = shapes
    state = numbers(before)
    writer = opened(tmp_path, asynchronous=False)
    writer.save(7, state, META)
    wanted = abstract(after)
    found = writer.restore(wanted)
    writer.close()
    assert found is not None
    assert_equal(found[0], state)
    assert jax.tree.map(lambda x: x.sharding, found[0]) == jax.tree.map(
        lambda x: x.sharding, wanted
    )
    params = checkpoint.load_weights(str(tmp_path), wanted.params)
    assert_equal(params, state.params)


@pytest.mark.parametrize("small", [True, False])
def test_a_checkpoint_goes_on_with_other_moments_and_on_another_mesh(tmp_path, small):
    state = numbers((2, 2, 2), small)
    writer = opened(tmp_path, asynchronous=False)
    writer.save(7, state, META)
    wanted = abstract((4, 2, 1), not small)
    found = writer.restore(wanted)
    writer.close()
    assert found is not None
    expected = jax.tree.map(
        lambda x, like: jax.device_get(x).astype(like.dtype), state, wanted
    )
    assert_equal(found[0], expected)
    for leaf, like in zip(jax.tree.leaves(found[0]), jax.tree.leaves(wanted)):
        assert (leaf.dtype, leaf.sharding) == (like.dtype, like.sharding)


def test_nothing_saved_restores_nothing(tmp_path):
    reader = opened(tmp_path / "new")
    assert reader.latest_step() is None
    assert reader.restore(abstract()) is None
    reader.close()


def test_the_last_and_every_nth_are_kept(tmp_path):
    saved(tmp_path, range(1, 10), keep_last=2, keep_every=4)
    assert sorted(int(p.name) for p in tmp_path.iterdir()) == [4, 8, 9]


def test_a_step_that_is_saved_already_is_left_as_it_is(tmp_path):
    state = saved(tmp_path)
    writer = opened(tmp_path)
    writer.save(1, jax.tree.map(lambda x: x * 0, state), {})
    found = writer.restore(abstract())
    writer.close()
    assert found is not None
    assert found[1] == META
    assert_equal(found[0], state)


def test_an_unfinished_checkpoint_is_never_restored(tmp_path):
    state = saved(tmp_path, (1, 2))
    unfinished = tmp_path / "3.orbax-checkpoint-tmp"
    os.rename(tmp_path / "2", unfinished)
    reader = opened(tmp_path)
    assert reader.latest_step() == 1
    found = reader.restore(abstract())
    assert found is not None
    assert_equal(found[0], state)
    reader.save(3, state, META)  # its name is free again
    reader.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3"]


def damage(path: pathlib.Path, how: str) -> None:
    if how == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Orbax leaves the reads that it gives up to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["delete", "truncate"])
@pytest.mark.parametrize(
    "name",
    slow_unless(
        ["params/_METADATA", "params/manifest.ocdbt", "meta/metadata", "largest"],
        ["params/manifest.ocdbt", "largest"],
    ),
)
def test_a_damaged_checkpoint_is_named_and_so_is_the_older_one(tmp_path, name, how):
    saved(tmp_path, (1, 2))
    files = [path for path in (tmp_path / "2").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    damage(largest if name == "largest" else tmp_path / "2" / name, how)
    reader = opened(tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint .*/2 is damaged .* from step 1$"):
        reader.restore(abstract())
    reader.close()


def test_a_checkpoint_of_another_model_is_refused_with_the_paths(tmp_path):
    saved(tmp_path)
    other = abstract(tied_embeddings=True, mlp_width=48)
    reader = opened(tmp_path)
    with pytest.raises(ValueError, match="belongs to another model") as error:
        reader.restore(other)
    reader.close()
    message = str(error.value)
    assert f"{tmp_path}/1" in message
    assert "1 params unexpected, first decoder/unembed (32, 32)" in message
    assert (
        "decoder/blocks/mlp/down/kernel (2, 64, 32) instead of (2, 48, 32)" in message
    )
    writer = opened(tmp_path / "tied")
    writer.save(1, jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), other), {})
    with pytest.raises(ValueError, match="1 params missing, first decoder/unembed"):
        writer.restore(abstract(mlp_width=48))
    writer.close()


def test_an_optimizer_of_other_frozen_parts_is_refused(tmp_path):
    state = numbers()
    trainable, _ = optim.partition(state.opt_state[1].mu, ("^vit/",))
    moments = state.opt_state[1]._replace(mu=trainable, nu=trainable)
    writer = opened(tmp_path)
    chain = (state.opt_state[0], moments, *state.opt_state[2:])
    writer.save(1, state._replace(opt_state=chain), META)
    writer.wait()
    with pytest.raises(
        ValueError, match="optimizer missing, first opt_state/1/mu/vit/"
    ):
        writer.restore(abstract())
    writer.close()


@pytest.mark.parametrize("folder", ["", "checkpoints", "checkpoints/1"])
def test_weights_load_from_a_run_its_checkpoints_or_one_of_them(tmp_path, folder):
    state = saved(tmp_path / "checkpoints")
    params = checkpoint.load_weights(str(tmp_path / folder), abstract().params)
    assert_equal(params, state.params)
    assert (tmp_path / "checkpoints" / "1").is_dir()


def test_to_load_weights_warns_of_nothing(tmp_path, caplog):
    saved(tmp_path)
    caplog.clear()
    before = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        checkpoint.load_weights(str(tmp_path), abstract().params)
        assert absl.logging.get_verbosity() == absl.logging.WARNING
    finally:
        absl.logging.set_verbosity(before)
    assert [record.message for record in caplog.records] == []


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        checkpoint.load_weights(str(tmp_path / "missing"), abstract().params)
    with pytest.raises(ValueError, match="no complete checkpoint"):
        checkpoint.load_weights(str(tmp_path), abstract().params)


def test_meta_lies_beside_the_state_as_json(tmp_path):
    saved(tmp_path)
    assert json.loads((tmp_path / "1" / "meta" / "metadata").read_text()) == META


def test_the_newest_meta_is_read_without_the_state(tmp_path):
    reader = opened(tmp_path / "none")
    assert reader.latest_meta() is None
    reader.close()
    saved(tmp_path / "run", steps=(1, 2))
    reader = opened(tmp_path / "run")
    assert reader.latest_meta() == META
    reader.close()
