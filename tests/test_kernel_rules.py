"""Kernels of attention that are named are refused for what they don't know."""

import pytest

from mmjax import config, kernel_rules, validation


def line(model):
    """The one line that a config with this model is refused with."""
    with pytest.raises(ValueError, match="attention") as error:
        validation.validate(config.Config(model=model))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_kernel_without_segments_is_refused_for_rows_of_documents():
    message = line(config.Model(attention="cudnn"))
    assert "model.attention='cudnn': knows no segments" in message


@pytest.mark.parametrize(
    ("name", "value"), [("window", 512), ("attention_softcap", 3.0)]
)
def test_limits_and_caps_that_a_kernel_lacks_are_told_with_their_field(name, value):
    model = config.Model(attention="triton")
    setattr(model.decoder, name, value)
    told = f"model.attention='triton': doesn't know model.decoder.{name}={value}"
    assert told in line(model)
    for other in "blocked", "splash", "auto":
        assert not kernel_rules.of_decoder(other, model)


@pytest.mark.parametrize("kernel", ["cudnn", "triton"])
def test_kernels_of_gpus_are_for_bfloat16(kernel):
    model = config.Model(dtype="float32", vit=config.ViT(attention=kernel))
    told = f"model.vit.attention='{kernel}': is for bfloat16, not model.dtype='float32'"
    assert told in line(model)


@pytest.mark.parametrize(("heads", "size"), [(8, 160), (64, 20)])
def test_heads_that_cudnn_does_not_take_are_told_with_their_size(heads, size):
    vit = config.ViT(attention="cudnn", width=1280, heads=heads)
    assert f"at most 128 numbers, not of {size}" in line(config.Model(vit=vit))
    assert not kernel_rules.of_encoder("cudnn", config.ViT(), "bfloat16")  # of 80


@pytest.mark.parametrize("kernel", ["cudnn", "splash", "triton"])
def test_no_kernel_knows_the_prefixes_of_aim(kernel):
    assert "prefixes" in kernel_rules.of_aim(kernel, "aim")
    assert not kernel_rules.of_aim(kernel, "next_token")
    assert not kernel_rules.of_aim("reference", "aim")
