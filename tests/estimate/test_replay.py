"""The replay: times of small programs, worked out by hand."""

import pytest

from mmjax import hlo
from mmjax.estimate import replay, timeline, topologies

V5P = topologies.GENERATIONS["v5p"]
CYCLE = 0.92 / 1.75e9  # seconds
LINK, LATENCY, HBM = 90e9 * 0.9, 2e-6, 2765e9 * 0.75

CALLED = """%double (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %d = f32[8]{0} add(%p, %p)
}
%product (a: bf16[1024,1024], b: bf16[1024,1024]) -> bf16[1024,1024] {
  %a = bf16[1024,1024]{1,0} parameter(0)
  %b = bf16[1024,1024]{1,0} parameter(1)
  ROOT %c = bf16[1024,1024]{1,0} convolution(%a, %b), dim_labels=bf_io->bf
}
"""


def cycles(count):
    return f'backend_config={{"estimated_cycles":"{count}"}}'


def played(*lines, called=CALLED):
    body = "".join(f"  {line}\n" for line in lines)
    text = f"{called}ENTRY %main (x: f32[8]) -> f32[8] {{\n{body}}}\n"
    return replay.replay(hlo.parse(text.splitlines(keepends=True)), V5P)


def parts(found):
    """{kind: seconds of the core}."""
    sums = {}
    for event in timeline.of_core(found.events):
        sums[event.kind] = sums.get(event.kind, 0) + event.seconds * event.times
    assert sum(sums.values()) == pytest.approx(found.seconds)
    return sums


X = "%x = f32[8]{0} parameter(0)"
W = "%w = bf16[1024,1024]{1,0} parameter(1)"
FUSED = "fusion(%x), kind=kLoop, calls=%double"


def test_estimated_cycles_become_seconds_of_the_calibrated_clock():
    found = played(
        X,
        f"%y = f32[8]{{0}} {FUSED}, {cycles(3500)}",
        f"ROOT %z = f32[8]{{0}} copy(%y), {cycles(1750)}",
    )
    assert parts(found) == {
        "elementwise": pytest.approx(3500 * CYCLE),
        "copies": pytest.approx(1750 * CYCLE),
    }


def test_a_product_is_never_faster_than_the_peak():
    flops = 2 * 1024**3
    for count, seconds in ((10, flops / 459e12), (20_000, 20_000 * CYCLE)):
        found = played(
            W,
            "ROOT %y = bf16[1024,1024]{1,0} fusion(%w, %w), kind=kOutput, "
            f"calls=%product, {cycles(count)}",
        )
        assert parts(found) == {"matmul": pytest.approx(seconds)}
        assert [event.flops for event in found.events] == [flops]


@pytest.mark.parametrize(
    ("left", "right", "peak"),
    [("s8", "s8", 918e12), ("f8e5m2", "f8e4m3fn", 918e12), ("s8", "bf16", 459e12)],
)
def test_only_of_two_operands_of_8_bits_the_peak_is_higher(left, right, peak):
    shape = "[1024,1024]{1,0}"
    found = played(
        f"%a = {left}{shape} parameter(0)",
        f"%b = {right}{shape} parameter(1)",
        f"ROOT %c = s32{shape} convolution(%a, %b), dim_labels=bf_io->bf, {cycles(10)}",
    )
    assert parts(found) == {"matmul": pytest.approx(2 * 1024**3 / peak)}
    assert [event.flops for event in found.events] == [2 * 1024**3]


def test_without_an_estimate_bytes_or_flops_decide():
    large = "%w = f32[1048576]{0} parameter(0)"
    found = played(large, "ROOT %y = f32[1048576]{0} negate(%w)")
    assert found.seconds == pytest.approx(2 * 4 * 2**20 / HBM)
    found = played(
        W,
        "ROOT %y = bf16[1024,1024]{1,0} fusion(%w, %w), kind=kOutput, calls=%product",
    )
    assert found.seconds == pytest.approx(2 * 1024**3 / (0.8 * 459e12))
    found = played(X, "ROOT %y = f32[8]{0} negate(%x)")
    assert found.seconds == 0  # too few bytes to matter


GATHER = "bf16[524288]{0} all-gather"
GROUP = "replica_groups={{0,1,2,3}}"
GATHERED = 2**20 * 3 / 4 / (2 * LINK) + LATENCY
SMALL = "%s = bf16[131072]{0} parameter(1)"


@pytest.mark.parametrize("busy", [1000, 100_000])
def test_only_the_wait_for_a_started_collective_is_exposed(busy):
    found = played(
        X,
        SMALL,
        f"%a = (bf16[131072], bf16[524288]) all-gather-start(%s), {GROUP}",
        f"%y = f32[8]{{0}} {FUSED}, {cycles(busy)}",
        "ROOT %g = bf16[524288]{0} all-gather-done(%a)",
    )
    computed = busy * CYCLE
    assert found.seconds == pytest.approx(max(GATHERED, computed))
    exposed = parts(found).get("collectives", 0)
    assert exposed == pytest.approx(max(0, GATHERED - computed))


def test_a_synchronous_collective_waits_for_its_links_and_is_all_exposed():
    found = played(
        X,
        SMALL,
        f"%a = (bf16[131072], bf16[524288]) all-gather-start(%s), {GROUP}",
        f"%b = {GATHER}(%s), {GROUP}",
        "ROOT %g = bf16[524288]{0} all-gather-done(%a)",
    )
    assert parts(found) == {"collectives": pytest.approx(2 * GATHERED)}


LOOP = (
    CALLED
    + """%cond (p: (s32[], f32[8])) -> pred[] {
  %p = (s32[], f32[8]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %n = s32[] constant(5)
  ROOT %c = pred[] compare(%i, %n), direction=LT
}
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8]{0} get-tuple-element(%p), index=1
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  INSIDE
  ROOT %out = (s32[], f32[8]) tuple(%next, %x)
}
"""
)
ENTRY = (
    X,
    "%zero = s32[] constant(0)",
    "%start = (s32[], f32[8]) tuple(%zero, %x)",
    "ROOT %loop = (s32[], f32[8]) while(%start), condition=%cond, body=%body",
)


def test_a_loop_takes_as_long_as_its_passes():
    inside = f"%y = f32[8]{{0}} {FUSED}, {cycles(700)}"
    found = played(*ENTRY, called=LOOP.replace("INSIDE", inside))
    assert parts(found) == {"elementwise": pytest.approx(5 * 700 * CYCLE)}
    assert [event.times for event in found.events] == [1, 4]
    assert not found.notes


def test_each_pass_of_a_loop_waits_for_what_it_started():
    inside = "\n  ".join(
        [
            "%s = bf16[131072]{0} constant({...})",
            f"%a = (bf16[131072], bf16[524288]) all-gather-start(%s), {GROUP}",
            f"%y = f32[8]{{0}} {FUSED}, {cycles(700)}",
            "%g = bf16[524288]{0} all-gather-done(%a)",
        ]
    )
    found = played(*ENTRY, called=LOOP.replace("INSIDE", inside))
    assert parts(found) == {
        "elementwise": pytest.approx(5 * 700 * CYCLE),
        "collectives": pytest.approx(5 * (GATHERED - 700 * CYCLE)),
    }


def test_a_guess_of_a_trip_count_is_noted():
    inside = "%y = s32[] convert(%x)\n  %next2 = s32[] add(%i, %y)"
    text = LOOP.replace("INSIDE", inside).replace("tuple(%next,", "tuple(%next2,")
    found = played(*ENTRY, called=text)
    assert found.notes == ["trip count of loop is a guess: 5"]


def test_copies_to_the_core_and_to_the_host_go_on_beside_it():
    copies = {  # 4 MiB over the device's own memory, or over the host's link
        ":S(1)": (2**22 / HBM, "vmem_wait"),
        ":S(5)": (2**22 / 16e9, "host_wait"),
    }
    for space, (seconds, part) in copies.items():
        found = played(
            X,
            "%w = f32[1048576]{0} parameter(1)",
            f"%c = (f32[1048576]{{0{space}}}, f32[1048576]{{0}}, u32[]{{:S(2)}}) "
            "copy-start(%w)",
            f"%y = f32[8]{{0}} {FUSED}, {cycles(700)}",
            f"ROOT %d = f32[1048576]{{0{space}}} copy-done(%c)",
        )
        assert found.seconds == pytest.approx(seconds)
        assert parts(found)[part] == pytest.approx(seconds - 700 * CYCLE)


def test_a_fusion_that_updates_a_slice_moves_the_slice():
    called = """%update (p: f32[2], u: f32[1], i: s32[]) -> f32[2] {
  %p = f32[1024,1024]{1,0} parameter(0)
  %u = f32[1,1024]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %d = f32[1024,1024]{1,0} dynamic-update-slice(%p, %u, %i, %i)
}
"""
    found = played(
        "%p = f32[1024,1024]{1,0} parameter(0)",
        "%u = f32[1,1024]{1,0} parameter(1)",
        "%i = s32[] parameter(2)",
        "ROOT %y = f32[1024,1024]{1,0} fusion(%p, %u, %i), calls=%update",
        called=called,
    )
    assert found.hbm_bytes == pytest.approx(2 * 4096 + 4)  # in, out, and the index
