import dataclasses

import jax
import numpy as np
import pytest
import weight_samples as samples
from short_form import slow_unless

from mmjax import config
from mmjax.convert import matching, parts
from mmjax.convert.families import family


def assert_same(left, right):
    assert left.keys() == right.keys()
    for path in left:
        assert left[path].dtype == right[path].dtype
        np.testing.assert_array_equal(np.asarray(left[path]), np.asarray(right[path]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_whole_model_comes_back_bit_for_bit(tmp_path, dtype):
    model = samples.llava()
    source = samples.saved(tmp_path / "run", model, dtype)
    folder = samples.exported(tmp_path / "theirs", source, shard_bytes=3000)
    assert len(list(folder.glob("*.safetensors"))) > 1
    samples.imported(tmp_path / "back", model=str(folder))
    assert_same(samples.stored(tmp_path / "back"), samples.stored(tmp_path / "run"))
    found = config.read_model(str(tmp_path / "back"))
    for part in ("vit", "decoder"):
        before = dataclasses.replace(getattr(model, part), remat="full")
        assert getattr(found, part) == before
    assert found.connector.kind == "mlp"
    assert found.connector.tokens == 4


@pytest.mark.parametrize("kind", slow_unless(parts.DECODERS, ["gemma3_text", "llama"]))
def test_a_decoder_comes_back_bit_for_bit(tmp_path, kind):
    model = samples.llava(decoder=samples.decoder(kind))
    source = samples.saved(tmp_path / "run", model)
    folder = samples.exported(tmp_path / "theirs", source, decoder_only=True)
    samples.imported(tmp_path / "back", decoder=str(folder))
    before = samples.stored(tmp_path / "run")
    own = {path: x for path, x in before.items() if path.startswith("decoder/")}
    assert_same(samples.stored(tmp_path / "back"), own)
    found = config.read_model(str(tmp_path / "back")).decoder
    assert found == dataclasses.replace(model.decoder, remat="full")


@pytest.mark.parametrize("kind", parts.DECODERS)
def test_settings_say_a_decoder_and_nothing_else(kind):
    found, decoder = parts.DECODERS[kind], samples.decoder(kind)
    settings = family.settings_of(found, decoder, "decoder")
    assert family.read(found, settings, "there") == dataclasses.replace(
        decoder, remat="full"
    )
    other = {"llama": "qwen2"}.get(kind, "llama")
    with pytest.raises(ValueError, match=f"what {other} means is"):
        family.settings_of(parts.DECODERS[other], decoder, "decoder")


def test_export_reads_every_parameter_that_import_writes():
    for kind in parts.DECODERS:
        model = samples.llava(decoder=samples.decoder(kind))
        ours = {
            path: leaf
            for path, leaf in samples.parameters(model).items()
            if path.startswith("decoder/")
        }
        rules = parts.DECODERS[kind].rules(model.decoder, ("model.", ""))
        assert sorted(rule.ours for rule in rules) == sorted(ours)
        theirs = {n: np.zeros(()) for rule in rules for n in rule.names()}
        with pytest.raises(ValueError, match="must be"):  # of shape (), all of them
            matching.match(rules, ours, theirs)


def test_positions_of_another_grid_are_exported_as_the_model_resizes_them(tmp_path):
    vit = dataclasses.replace(samples.CLIP, image_size=12, position_grid=2)
    model = samples.llava(vit=vit)
    model.connector.tokens = 9
    source = samples.saved(tmp_path / "run", model)
    folder = samples.exported(tmp_path / "theirs", source)
    samples.imported(tmp_path / "back", model=str(folder))
    table = samples.stored(tmp_path / "back")["vit/positions"]
    from mmjax.ops import positions

    before = samples.stored(tmp_path / "run")["vit/positions"]
    expected = positions.resize(before, (3, 3), "torch_bicubic")
    np.testing.assert_array_equal(table, expected)
    assert config.read_model(str(tmp_path / "back")).vit.position_grid == 0


CROSSED = config.CrossAttention(every=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"connector": config.Connector(tokens=4, heads=2)}, "kind=perceiver: LLaVA"),
        (
            {"connector": config.Connector(kind="mlp", tokens=4, mlp_depth=3)},
            "mlp_depth=3: LLaVA's is 2",
        ),
        (
            {"preprocessing": config.Preprocessing(tiling="mm1")},
            "tiling=mm1: LLaVA sees an image as one square",
        ),
        ({"vit": dataclasses.replace(samples.CLIP, features=-1)}, "features=-1: LLaVA"),
        ({"vit": dataclasses.replace(samples.CLIP, registers=2)}, "vit.registers=2"),
        (
            {"decoder": dataclasses.replace(samples.LLAMA, logit_softcap=3.0)},
            "no family of decoders can say it:\nmodel.decoder.logit_softcap=3.0",
        ),
        (
            {"decoder": dataclasses.replace(samples.LLAMA, cross_attention=CROSSED)},
            "no family of decoders can say it:\nmodel.decoder.cross_attention=",
        ),
    ],
)
def test_what_llava_cannot_say_is_refused_with_the_reason(tmp_path, change, reason):
    source = samples.saved(tmp_path / "run", samples.llava(**change))
    with pytest.raises(ValueError, match=reason):
        samples.exported(tmp_path / "theirs", source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("decoder_only", [False, True])
@pytest.mark.parametrize("kind", ["aim", "contrastive"])
def test_an_encoder_of_ones_own_is_no_model_that_makes_text(
    tmp_path, kind, decoder_only
):
    small = config.Objective(kind, config.Contrast(width=8), config.Aim(1, 16, 32))
    model = samples.llava(objective=small)
    model.decoder.tied_embeddings = True
    source = samples.saved(tmp_path / "run", model)
    with pytest.raises(ValueError, match=f"by the {kind} objective and makes no text"):
        samples.exported(tmp_path / "theirs", source, decoder_only=decoder_only)
    assert not (tmp_path / "theirs").exists()


def test_shards_on_eight_devices_hold_what_one_device_holds(tmp_path):
    assert jax.device_count() == 8
    folder = samples.theirs(tmp_path / "theirs")
    samples.imported(tmp_path / "ours", decoder=str(folder))
    assert_same(
        samples.stored(tmp_path / "ours"),
        {
            path: x
            for path, x in samples.stored(tmp_path / "theirs.ours").items()
            if path.startswith("decoder/")
        },
    )


def test_new_words_start_as_the_mean_of_the_others(tmp_path):
    folder = samples.theirs(tmp_path / "theirs")
    wishes = parts.Wishes(vocab_size=24)
    lines = samples.imported(tmp_path / "ours", decoder=str(folder), wishes=wishes)
    assert "  decoder/embedding: 8 new entries, the mean of the others" in lines
    stored = samples.stored(tmp_path / "ours")
    known = samples.stored(tmp_path / "theirs.ours")
    for path, axis in (("decoder/embedding", 0), ("decoder/unembed", 1)):
        table = np.moveaxis(np.asarray(stored[path]), axis, 0)
        before = np.moveaxis(np.asarray(known[path]), axis, 0)
        np.testing.assert_array_equal(table[:16], before)
        for row in table[16:]:
            np.testing.assert_allclose(row, before.mean(0), rtol=1e-5, atol=1e-6)
