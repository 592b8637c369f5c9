import json
import shutil

import numpy as np
import pytest
import weight_samples as samples

from mmjax import config, resuming
from mmjax.convert import tensor_reader, tensor_writer
from mmjax.convert.parts import Wishes
from mmjax.convert.tensor_writer import Pending

LAYER = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return samples.theirs(tmp_path_factory.mktemp("llama") / "theirs")


@pytest.fixture
def theirs(llama, tmp_path):
    """A folder to damage."""
    return shutil.copytree(llama, tmp_path / "theirs")


def change(folder, edit) -> None:
    """Rewrites a folder's only file of tensors."""
    path = folder / "model.safetensors"
    tensors = {name: np.array(x) for name, x in tensor_reader.read(path).items()}
    edit(tensors)
    pending = [
        Pending(name, x.shape, x.dtype, lambda x=x: x) for name, x in tensors.items()
    ]
    tensor_writer.write(folder, pending, 10**9)


def assert_refused(folder, reason, **request):
    """One message with the reason, and nothing written."""
    out = folder.parent / "ours"
    request.setdefault("decoder", str(folder))
    with pytest.raises(ValueError, match=reason):
        samples.imported(out, **request)
    assert sorted(path.name for path in out.parent.iterdir()) == [folder.name]


def test_a_missing_tensor_is_named(theirs):
    change(theirs, lambda tensors: tensors.pop(LAYER))
    line = f"decoder/blocks/mlp/up/kernel: is missing, looked for {LAYER}"
    assert_refused(theirs, line)


def test_a_tensor_of_another_shape_is_named(theirs):
    change(theirs, lambda tensors: tensors.update({LAYER: np.zeros((24, 15), "f4")}))
    assert_refused(theirs, rf"shape \[24, 15\] of {LAYER} must be \[24, 16\]")


def test_a_tensor_that_nothing_reads_is_named(theirs):
    change(theirs, lambda tensors: tensors.update(adapter=np.zeros(3, "f4")))
    assert_refused(theirs, r"adapter \[3\]: nothing of the model reads it")
    assert_refused(theirs, "adapter", allow=["adapt"])  # patterns match whole names


def test_numbers_that_are_no_floats_are_refused(theirs):
    change(theirs, lambda tensors: tensors.update({LAYER: np.zeros((24, 16), "i1")}))
    assert_refused(theirs, f"must be of floating point, {LAYER} is int8")


def test_what_is_allowed_by_name_is_new_or_dropped(theirs):
    def edit(tensors):
        del tensors[LAYER]
        tensors["adapter.a"] = np.zeros(3, "f4")

    change(theirs, edit)
    allow = [r"decoder/blocks/mlp/up/.*", r"adapter\..*"]
    out = theirs.parent / "ours"
    lines = samples.imported(out, decoder=str(theirs), allow=allow)
    assert "  new, as allowed: decoder/blocks/mlp/up/kernel [3, 16, 24]" in lines
    # What was of the same parameter in other layers is dropped with it.
    dropped = next(line for line in lines if "dropped, as allowed" in line)
    assert "adapter.a" in dropped
    assert samples.stored(out)["decoder/blocks/mlp/up/kernel"].shape == (3, 16, 24)


def test_a_truncated_file_is_refused(theirs):
    path = theirs / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert_refused(theirs, r"model.safetensors: holds .* is it truncated\?")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model_type": "mamba"}, "model_type='mamba': the decoders that can be read"),
        ({"attention_bias": True}, "attention_bias=True: must be False for a llama"),
        ({"hidden_act": "relu"}, "hidden_act='relu': must be 'silu' for a llama"),
        (
            {"rope_scaling": {"rope_type": "longrope"}},
            "rope_scaling of type 'longrope'",
        ),
        (
            {"rope_scaling": {"rope_type": "linear", "factor": 2.0, "extra": 1}},
            "rope_scaling=",
        ),
        ({"rope_scaling": {"rope_type": "linear"}}, "is incomplete"),
        ({"quantization_config": {"bits": 4}}, "only checkpoints in floating point"),
        ({"num_hidden_layers": 4}, "is missing, looked for model.layers.3"),
        ({"num_hidden_layers": 2}, "model.layers.2.* nothing of the model reads it"),
        ({"model_type": "qwen2"}, "query/bias: is missing, looked for"),
    ],
)
def test_settings_that_are_not_ours_are_refused_by_name_and_value(
    theirs, values, reason
):
    samples.edit_settings(theirs, **values)
    assert_refused(theirs, reason)


def test_a_folder_is_refused_where_the_wrong_part_is_asked_for(theirs):
    assert_refused(theirs, "the encoders that can be read are", encoder=str(theirs),
                   decoder="")  # fmt: skip
    assert_refused(theirs, "whole models are llava", model=str(theirs), decoder="")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "."])
def test_an_index_that_leaves_its_folder_is_refused(theirs, name):
    (theirs / "model.safetensors").rename(theirs / "a.safetensors")
    index = theirs / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": name}}))
    assert_refused(theirs, "is not the name of a file beside it|is missing")


def test_an_index_must_find_its_files_and_tensors(theirs):
    (theirs / "model.safetensors").rename(theirs / "a.safetensors")
    index = theirs / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "b.safetensors"}}))
    assert_refused(theirs, "names b.safetensors, which is missing")
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    assert_refused(theirs, "1 tensors are in none of its files, first x")
    index.write_text("{}")
    assert_refused(theirs, "has no weight_map")


def test_a_folder_without_weights_or_settings_is_refused(theirs):
    (theirs / "config.json").rename(theirs / "other.json")
    assert_refused(theirs, "holds no config.json")
    (theirs / "model.safetensors").unlink()
    assert_refused(theirs, "holds no weights; looked for model.safetensors")
    assert_refused(theirs, "no such folder", decoder=str(theirs / "none"))


def test_an_output_that_exists_is_left_alone(theirs, tmp_path):
    out = tmp_path / "taken"
    out.mkdir()
    with pytest.raises(ValueError, match="is there already"):
        samples.imported(out, decoder=str(theirs))
    assert list(out.iterdir()) == []


def test_a_failure_while_writing_leaves_nothing(theirs, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "no space left", "there")

    monkeypatch.setattr("mmjax.checkpoint.save_weights", fail)
    with pytest.raises(OSError, match="no space left"):
        samples.imported(theirs.parent / "ours", decoder=str(theirs))
    assert [path.name for path in theirs.parent.iterdir()] == ["theirs"]


def test_a_target_must_be_the_checkpoints_model(theirs):
    target = samples.llava(decoder=samples.decoder("llama"))
    target.decoder.norm_eps = 1e-5
    reason = "model.decoder.norm_eps=1e-05: the checkpoint's is 1e-06"
    assert_refused(theirs, reason, target=target)
    target.decoder.norm_eps = 1e-6
    target.decoder.vocab_size = 20  # longer is no difference
    samples.imported(theirs.parent / "ours", decoder=str(theirs), target=target)
    made = samples.stored(theirs.parent / "ours")
    assert made["decoder/embedding"].shape == (20, 16)


NEW = r"decoder/.*/cross/.*"


def test_blocks_that_look_at_images_are_new_where_that_is_allowed(theirs):
    decoder = samples.decoder("llama")
    decoder.cross_attention = config.CrossAttention(every=2, row_images=4)
    target = samples.llava(decoder=decoder)
    reason = "layer1/cross/attention/key/kernel: is in no checkpoint of this"
    assert_refused(theirs, reason, target=target)
    out, plain = theirs.parent / "ours", theirs.parent / "plain"
    said = samples.imported(out, decoder=str(theirs), target=target, allow=[NEW])
    samples.imported(plain, decoder=str(theirs))
    found, old = samples.stored(out), samples.stored(plain)
    new = {path for path in found if "/cross/" in path}
    assert any("new, as allowed: decoder/blocks/layer1/cross/" in line for line in said)
    assert all(not np.any(found[path]) for path in new if path.endswith("_gate"))
    for layer, stack in enumerate(("blocks/layer0", "blocks/layer1", "rest/layer0")):
        np.testing.assert_array_equal(
            found[f"decoder/{stack}/mlp/up/kernel"][0],
            old["decoder/blocks/mlp/up/kernel"][layer],
        )
    assert config.read_model(str(out)).decoder.cross_attention.every == 2


def test_a_run_starts_from_the_parts_that_were_imported(theirs):
    import synthetic

    from mmjax import step
    from mmjax.models import vlm

    out = theirs.parent / "ours"
    samples.imported(out, decoder=str(theirs), wishes=Wishes(vocab_size=32))
    conf = synthetic.config()
    conf.model.decoder = config.read_model(str(out)).decoder
    conf.model.connector.heads = 2
    conf.init_from = str(out)

    class Nothing:
        restore = staticmethod(lambda shapes: None)

    built, mesh = vlm.build(conf.model), synthetic.mesh(synthetic.EIGHT)
    run = _Run(conf, mesh, built)
    said: list[str] = []
    start = resuming.start(run, Nothing(), (), said.append)  # pyright: ignore
    assert said == [f"weights from {out}, connector and vit new"]
    params = start.state.params
    stored = samples.stored(out)
    np.testing.assert_array_equal(
        params["decoder"]["embedding"], stored["decoder/embedding"]
    )
    assert params["decoder"]["embedding"].dtype == np.float32
    fresh = step.init_state(built, conf, mesh, synthetic.jax.random.key(conf.seed))
    np.testing.assert_array_equal(
        params["vit"]["norm"]["scale"], fresh.params["vit"]["norm"]["scale"]
    )


class _Run:
    def __init__(self, conf, mesh, model):
        self.config, self.mesh, self.model = conf, mesh, model
