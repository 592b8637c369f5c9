"""FLOPs of attention kernels, from the shapes of their operands."""

import pytest

from mmjax import hlo
from mmjax.estimate import kernels, topologies


def call(name, operands, attributes="", scope="jit(step)/attention/pallas_call"):
    listed = ", ".join(operands)
    text = f"""ENTRY %main (x: f32[]) -> f32[] {{
  %x = f32[] parameter(0)
  ROOT %{name} = f32[] custom-call(%x), custom_call_target="tpu_custom_call", operand_layout_constraints={{{listed}}}, metadata={{op_name="{scope}"}}{attributes}
}}
"""  # noqa: E501
    module = hlo.parse(text.splitlines(keepends=True))
    return module.computations["main"].by_name[name]


def qkv(tokens, heads=2, size=128):
    return [f"bf16[{heads},{tokens},{size}]{{2,1,0}}"] * 3


def blocks(size):
    inner = f'{{\\"block_q\\": {size}, \\"block_kv\\": {size}}}'
    return f', metadata2={{kernel="{inner}"}}'


def test_a_causal_kernel_computes_whole_blocks_up_to_the_diagonal():
    tokens, block = 4096, 1024
    got = kernels.attention(call("fwd", qkv(tokens), blocks(block)), split=False)
    assert got is not None
    rows = range(tokens // block)
    pairs = sum((row + 1) * block * block for row in rows)  # whole blocks
    assert got.flops == 2 * 2 * pairs * 2 * 128  # two products, two heads
    assert got.is_forward


@pytest.mark.parametrize("parts", [2, 4])
def test_a_part_of_a_row_computes_an_equal_share_of_it(parts):
    tokens, block = 4096, 512
    whole = kernels.attention(call("fwd", qkv(tokens), blocks(block)), split=False)
    keys = qkv(tokens)[:2]
    operands = [*qkv(tokens // parts)[:1], *keys]
    part = kernels.attention(call("fwd", operands, blocks(block)), split=False)
    assert whole is not None
    assert part is not None
    assert part.flops * parts == whole.flops


def test_short_square_attention_is_an_images_and_sees_all():
    got = kernels.attention(call("fwd", qkv(768), blocks(256)), split=False)
    assert got is not None
    assert got.flops == 2 * 2 * 768 * 768 * 2 * 128


@pytest.mark.parametrize(
    ("name", "split", "products"),
    [("dkv", False, 5), ("dkv", True, 4), ("splash_mha_dq", True, 3)],
)
def test_backward_kernels_compute_scores_again(name, split, products):
    got = kernels.attention(call(name, qkv(768)), split)
    assert got is not None
    assert not got.is_forward
    assert got.flops == products * 2 * 768 * 768 * 2 * 128


def test_keys_that_lie_the_other_way_round_are_turned():
    operands = [
        "bf16[2,768,128]{2,1,0}",
        "bf16[2,128,768]{2,1,0}",
        "bf16[2,768,128]{2,1,0}",
    ]
    turned = kernels.attention(call("fwd", operands), split=False)
    assert turned == kernels.attention(call("fwd", qkv(768)), split=False)


def test_heads_that_leave_lanes_empty_take_as_long_as_full_ones():
    # 80 numbers a head, with tokens side by side, as the splash kernel has a ViT's.
    narrow = kernels.attention(call("fwd", ["bf16[2,80,768]{2,1,0}"] * 3), split=False)
    assert narrow == kernels.attention(call("fwd", qkv(768)), split=False)


def test_other_kernels_are_none_of_attention():
    assert kernels.attention(call("fwd", qkv(768), scope="loss/norm"), False) is None
    few = ["bf16[768,128]{1,0}"]
    assert kernels.attention(call("attention_norm", few), False) is None


def test_heads_that_fill_the_matrix_unit_reach_more():
    v6e, v5p = (topologies.GENERATIONS[name] for name in ("v6e", "v5p"))
    narrow, wide = kernels.Kernel(1.0, True, 128), kernels.Kernel(1.0, False, 256)
    assert kernels.efficiency(narrow, v6e) == 0.40
    assert kernels.efficiency(narrow._replace(is_forward=False), v6e) == 0.37
    assert kernels.efficiency(wide, v6e) == 0.55
    assert kernels.efficiency(narrow, v5p) == 0.60
