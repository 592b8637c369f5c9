"""FLOPs of convolutions, against a count of every tap that meets a real input."""

import itertools

import pytest

from mmjax import hlo
from mmjax.estimate import products


def flops(lhs, rhs, out, labels, window=""):
    text = f"""ENTRY %main (x: {lhs}, y: {rhs}) -> {out} {{
  %x = {lhs} parameter(0)
  %y = {rhs} parameter(1)
  ROOT %c = {out} convolution(%x, %y){window and f", window={{{window}}}"}, dim_labels={labels}
}}
"""  # noqa: E501
    module = hlo.parse(text.splitlines(keepends=True))
    return products.by_computation(module)["main"]


def test_a_matrix_product_is_two_flops_a_multiply_add():
    assert flops("bf16[5,7]", "bf16[7,11]", "bf16[5,11]", "bf_io->bf") == 2 * 5 * 7 * 11


def test_an_axis_that_is_in_both_and_in_the_result_counts_once():
    # [3, 5, 7] by [3, 7, 11], as XLA for TPUs writes a product of batches.
    got = flops(
        "f32[3,5,7]", "f32[3,7,11]", "f32[3,5,11]", "0bf_0io->0bf",
        "size=3 stride=2 pad=0_0 lhs_dilate=3",
    )  # fmt: skip
    taps = taps_of(3, 3, 3, stride=2, pad=0, spread=3, dilation=1)
    assert taps == 3
    assert got == 2 * 3 * 5 * 7 * 11


def taps_of(inputs, kernel, outputs, stride, pad, spread, dilation):
    """Pairs of output and tap that meet an input, one by one."""
    real = {i * spread for i in range(inputs)}
    pairs = itertools.product(range(outputs), range(kernel))
    return sum(o * stride + k * dilation - pad in real for o, k in pairs)


@pytest.mark.parametrize(
    ("sizes", "window", "options"),
    [
        ((9, 3, 9), "size=3 pad=1_1", {"pad": 1}),
        ((9, 3, 4), "size=3 stride=2 pad=0_0", {"stride": 2}),
        ((9, 3, 5), "size=3 pad=0_0 rhs_dilate=2", {"dilation": 2}),
        ((4, 3, 7), "size=3 pad=1_1 lhs_dilate=2", {"spread": 2, "pad": 1}),
        ((9, 9, 1), "size=9", {}),
        ((9, 3, 5), "size=3 pad=-1_-1", {"pad": -1}),
    ],
)
def test_a_window_counts_the_taps_that_meet_a_real_input(sizes, window, options):
    inputs, kernel, outputs = sizes
    got = flops(
        f"f32[2,{inputs},5]", f"f32[{kernel},5,7]", f"f32[2,{outputs},7]",
        "b0f_0io->b0f", window,
    )  # fmt: skip
    options = {"stride": 1, "pad": 0, "spread": 1, "dilation": 1, **options}
    assert got == 2 * 2 * 5 * 7 * taps_of(inputs, kernel, outputs, **options)


def test_what_a_computation_calls_counts_each_time_it_is_called():
    text = """%f (x: f32[4,4]) -> f32[4,4] {
  %x = f32[4,4] parameter(0)
  ROOT %c = f32[4,4] convolution(%x, %x), dim_labels=bf_io->bf
}
ENTRY %main (x: f32[4,4]) -> f32[4,4] {
  %x = f32[4,4] parameter(0)
  %y = f32[4,4] fusion(%x), kind=kOutput, calls=%f
  ROOT %z = f32[4,4] fusion(%y), kind=kOutput, calls=%f
}
"""
    module = hlo.parse(text.splitlines(keepends=True))
    assert products.by_computation(module)["main"] == 2 * 2 * 4**3
