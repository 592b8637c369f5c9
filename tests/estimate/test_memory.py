"""Memory: classes of a compiled step, and what a compiler without room says."""

import estimate_samples

from mmjax.estimate import memory, topologies
from mmjax.shortage import Lack

GIB = 2**30
V5E = topologies.GENERATIONS["v5e"]


def test_classes_add_up_to_arguments_results_temporaries_and_code():
    found = memory.of_step(estimate_samples.RESULT)
    assert found.parameters == 3 * GIB
    assert found.padding == GIB  # arguments hold 11 GiB, of which 10 are known
    assert found.temporaries == 20 * GIB
    assert found.total == 31 * GIB + 2**20


def test_the_reports_first_table_names_the_largest_temporaries():
    first, second, third = memory.largest(estimate_samples.REPORT, 3)
    assert first.size == 6.5 * GIB
    assert first.name.endswith("s32[1,40960,40960]")
    assert second == (6.25 * GIB, "f32[1,40960,40960], f32[40960,40960]")
    assert third == (GIB / 2, "f32[1,40960]")
    assert len(memory.largest(estimate_samples.REPORT, 9)) == 4
    assert memory.largest("", 3) == []


def test_a_shortage_is_told_in_one_line_with_what_is_largest():
    lacking = Lack(25.06 * GIB, 15.75 * GIB, whole=True)
    pieces = memory.largest(estimate_samples.REPORT, 1)
    line = memory.told(lacking, V5E, pieces)
    assert line.startswith(
        "out of memory: needs 25.1 GiB, a v5e device has 15.8 GiB to give; largest: "
        "6.5 GiB for "
    )
    assert "\n" not in line
