"""Collectives: bytes over links, by hand."""

import pytest

from mmjax import hlo
from mmjax.estimate import collectives, topologies

V5P = topologies.GENERATIONS["v5p"]
LINK = 90e9 * 0.9  # bytes/s
LATENCY = 2e-6
MIB = 2**20


def transfer(result, opcode, operand, attributes, slice_devices=0):
    text = f"""ENTRY %main (x: {operand}) -> {result} {{
  %x = {operand} parameter(0)
  ROOT %c = {result} {opcode}(%x), {attributes}
}}
"""
    module = hlo.parse(text.splitlines(keepends=True))
    computation = module.computations["main"]
    found = collectives.Found(computation.by_name["c"], computation)
    return collectives.transfer(found, V5P, slice_devices)


FOUR = "replica_groups={{0,1,2,3},{4,5,6,7}}"
SMALL, LARGE = "bf16[131072]", "bf16[524288]"  # a quarter of a MiB, and 1 MiB


@pytest.mark.parametrize(
    ("opcode", "result", "operand", "sent"),
    [
        ("all-gather", LARGE, SMALL, MIB * 3 / 4),
        ("reduce-scatter", SMALL, LARGE, MIB * 3 / 4),
        ("all-reduce", LARGE, LARGE, 2 * MIB * 3 / 4),
        ("all-to-all", LARGE, LARGE, MIB * 4 / 4),
    ],
)
def test_both_links_of_a_ring_share_what_a_device_sends(opcode, result, operand, sent):
    got = transfer(result, opcode, operand, FOUR)
    assert got.kind == opcode
    assert got.seconds == pytest.approx(sent / (2 * LINK) + LATENCY)


def test_a_start_counts_what_it_gathers_once():
    started = transfer(f"({SMALL}, {LARGE})", "all-gather-start", SMALL, FOUR)
    assert started == transfer(LARGE, "all-gather", SMALL, FOUR)


def test_the_compilers_colours_are_links_up_to_what_a_chip_has():
    one, six, fifty = (
        transfer(LARGE, "all-gather", SMALL, f"{FOUR}, strategy={{colors:{n}}}")
        for n in (1, 6, 50)
    )
    sent = MIB * 3 / 4 / LINK
    assert one.seconds - LATENCY == pytest.approx(sent)
    assert six.seconds - LATENCY == pytest.approx(sent / 6)
    assert fifty.seconds - LATENCY == pytest.approx(sent / 12)


def test_rings_that_go_both_ways_use_two_links():
    strategy = (
        '"color_strategies":[{"phase_rings":["RING_BIDIR"]},{"phase_rings":["RING"]}]'
    )
    assert collectives.links_used(strategy) == 3
    assert collectives.links_used("") == 2


def test_a_permutation_takes_one_link_and_names_its_direction():
    attributes = "source_target_pairs={{0,1},{1,2},{2,3},{3,0}}"
    up = transfer(LARGE, "collective-permute", LARGE, attributes)
    assert up.seconds == pytest.approx(MIB / LINK + LATENCY)
    assert up.engine == "ici+"
    attributes = "source_target_pairs={{1,0},{2,1},{3,2},{0,3}}"
    down = transfer(LARGE, "collective-permute", LARGE, attributes)
    assert down.engine == "ici-"


@pytest.mark.parametrize(
    ("attributes", "members"),
    [
        (FOUR, (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[8]", (0, 1)),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", (0, 2, 4, 6)),
        ("replica_groups=mesh['data'=4,'fsdp'=2] {'fsdp'}, x=1", (0, 1)),
        ("replica_groups=mesh['data'=4,'fsdp'=2] {'data'}", (0, 2, 4, 6)),
        ("replica_groups=mesh['data'=2,'fsdp'=2] {'data','fsdp'}", (0, 1, 2, 3)),
    ],
)
def test_groups_are_read_in_every_notation(attributes, members):
    assert collectives.group(attributes) == members


def test_a_group_of_one_moves_nothing():
    assert transfer(LARGE, "all-reduce", LARGE, "replica_groups=[64,1]<=[64]")[0] == 0


def test_between_slices_a_device_sends_its_shard_over_the_network():
    reduced = transfer(LARGE, "all-reduce", LARGE, FOUR, slice_devices=2)
    inside = 2 * MIB * (1 / 2) / (2 * LINK) + LATENCY  # two members in each slice
    across = 2 * (MIB / 2) * (1 / 2) / 6.25e9  # their halves, between two slices
    assert reduced.seconds == pytest.approx(inside + across)
    assert reduced.engine == "network"
    whole = transfer(LARGE, "all-reduce", LARGE, FOUR, slice_devices=4)
    assert whole == transfer(LARGE, "all-reduce", LARGE, FOUR)
