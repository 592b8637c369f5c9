"""The benchmark of GPUs: without one it says so; tiny, the whole program runs."""

import json
import subprocess
import sys
import types

import jax
import numpy as np
import programs
import pytest
from jax._src.cudnn import fused_attention_stablehlo as jax_cudnn
from jax._src.pallas.triton import pallas_call_registration as registration

from benchmarks import gpu, gpu_kernels, made_up_rows, our_step
from configs import benchmark_1b, benchmark_39m
from mmjax import config as config_lib
from mmjax import sharding, step, validation
from mmjax.models import backends, vlm


def run(*arguments):
    environment = {**programs.environment(), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments)],
        cwd=programs.ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_without_a_gpu_it_ends_in_one_line_and_measures_nothing(tmp_path):
    done = run(f"--out={tmp_path / 'out.json'}")
    assert done.returncode == gpu.NO_GPU == 2
    assert done.stdout.startswith("no GPU here")
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["", benchmark_1b.TINY])
def test_both_sizes_are_valid_and_fill_their_rows(size):
    config = benchmark_1b.get_config(size)
    validation.validate(config)
    place_T = made_up_rows.image_tokens(config)
    images = made_up_rows.images_of_row(config)
    tokens = images * config.model.connector.tokens
    np.testing.assert_array_equal(place_T[place_T >= 0], np.arange(tokens))
    assert (place_T[[0, -1]] == -1).all()


def test_the_model_has_about_a_billion_parameters():
    config = benchmark_1b.get_config()
    body, tables = config_lib.decoder_parameters(config.model.decoder)
    assert 0.7e9 < body + tables < 0.8e9
    assert sum(our_step.flop(config).values()) > 6 * body * 4 * 2048


@pytest.mark.parametrize("config", [benchmark_39m, benchmark_1b])
def test_made_up_rows_count_what_a_word_follows(config):
    made = config.get_config(*[benchmark_1b.TINY][: config is benchmark_1b])
    batch, image = our_step.make_batch(made), made.model.decoder.vocab_size - 1
    words = batch.targets_ZRT[..., :-1] != image
    np.testing.assert_array_equal(batch.loss_mask_ZRT[..., :-1], words)
    assert not batch.loss_mask_ZRT[..., -1].any()
    np.testing.assert_array_equal(batch.images_ZRT >= 0, batch.tokens_ZRT == image)
    used = batch.images_ZRT[batch.images_ZRT >= 0]
    pooled = made.data.pool_capacity * made.model.connector.tokens
    np.testing.assert_array_equal(used, np.arange(pooled))


FOUND = {
    "device": "NVIDIA H100 80GB HBM3",
    "kernels": [{**gpu_kernels.TINY[0]._asdict(), "forward": 0.003, "gradients": 0.5,
                 "correct": False}],
    "notes": [],
    "flop": {"encoder": 1e14, "decoder": 3e14},
    "tokens": 8192,
    "images": 32,
    "sides": {
        "mmjax": {"seconds": [1.0, 0.8, 0.9], "parameters": 1, "memory": 2**31},
        "PyTorch compiled": {"error": "PyTorch compiled: ended with 1, see above"},
    },
}  # fmt: skip


def test_tables_show_medians_shares_of_peak_and_what_went_wrong():
    text = "\n".join(gpu.lines(FOUND))
    assert (
        "| mmjax | 0.0 M | 0.9000 | 0.8000 | 9102 | 35.6 | 444 | 44.9% | 2.00 |" in text
    )
    assert "| encoder | 100 | 25.0% | 11.2% |" in text
    assert "ended with 1, see above" in text
    assert "| 0.0030 | 0.5000 | WRONG |" in text


@pytest.mark.slow
@pytest.mark.parametrize(("fsdp", "tensor"), [(1, 1), (2, 2)])
def test_a_step_for_gpus_has_their_kernels_once_a_pass(fsdp, tensor, monkeypatch):
    """Lowered, not compiled, on CPUs that are taken for GPUs."""
    monkeypatch.setattr(jax_cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(backends, "platform", lambda: "gpu")
    if hasattr(registration, "gpu_info_lib"):  # jax 0.11 asks which GPU it is
        found = types.SimpleNamespace(compute_capability=90)
        monkeypatch.setattr(registration.gpu_info_lib, "get_gpu_info", lambda: found)
    config = benchmark_1b.get_config()
    config.model.vit.layers = config.model.decoder.layers = 2
    config.mesh = config_lib.Mesh(1, fsdp, tensor)
    mesh = sharding.make_mesh(config.mesh, jax.devices()[: fsdp * tensor])
    model = vlm.build(config.model)
    traced = step.make_train_step(model, config, mesh).trace(
        step.abstract_state(model, config, mesh),
        sharding.batch_shapes(config, config.data.pool_capacity),
    )
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("custom_call @__cudnn$fmhaSoftmax(") == 1
    assert program.count("custom_call @__cudnn$fmhaSoftmaxBackward(") == 1
    # Forward, products of outputs and their gradients, backward.
    assert program.count("custom_call @__gpu$xla.gpu.triton(") == 3


@pytest.mark.slow
def test_kernels_that_can_be_interpreted_are_right_in_bfloat16():
    found = gpu_kernels.check(on_gpu=False)
    assert {case["kernel"] for case in found} == {"triton"}
    assert all(case["correct"] for case in found), found


@pytest.mark.slow
@pytest.mark.extra
def test_tiny_both_sides_of_the_same_model_take_their_steps(tmp_path):
    pytest.importorskip("transformers")
    out = tmp_path / "out.json"
    done = run("--check", "--steps=2", f"--out={out}")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    ours, peer = (found["sides"][name] for name in (gpu.OURS, gpu.PEER))
    assert len(ours["seconds"]) == len(peer["seconds"]) == 2
    # Of the peer come a class token, a norm before and one behind the encoder.
    assert peer["parameters"] == pytest.approx(ours["parameters"], rel=0.02)
    assert found["kernels"]
    assert f"| {gpu.PEER} |" in done.stdout
