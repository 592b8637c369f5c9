"""Errors about memory: each platform's words, as they were seen."""

import pytest

from mmjax import shortage
from mmjax.shortage import Lack, Piece

MIB, GIB = 2**20, 2**30

TPU = (
    "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total "
    "memory required for HLO temporaries (25.06G) exceeds available HBM (15.75G). HLO "
    "module: jit_f.\nSee https://openxla.org/xla/errors/error_1000 for more details."
)
OLD_TPU = (
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
    "space hbm. Used 21.95G of 15.48G hbm. Exceeded hbm capacity by 6.47G.\n\n"
    "  Largest program allocations in hbm:\n\n"
    "  1. Size: 4.00G\n"
    '     Operator: op_name="jit(train_step)/jvp(VLM)/decoder/mul" source_file="x.py"\n'
    "     Shape: f32[1,2]{1,0}\n     Unpadded size: 3.00G\n"
    "  2. Size: 512.50M\n     Operator: op_name=\"jit(train_step)/dot\"\n"
)  # fmt: skip
GPU = (
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 6291456 bytes.\n"
    "Peak buffers:\n\tBuffer 1:\n\t\tSize: 6.00MiB\n"
    '\t\tOperator: op_name="jit(concatenate)/concatenate[dimension=0]"\n'
)


@pytest.mark.parametrize(
    ("message", "lack"),
    [
        (TPU, Lack(25.06 * GIB, 15.75 * GIB, True)),
        (OLD_TPU, Lack(21.95 * GIB, 15.48 * GIB, True)),
        (
            "RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to "
            "allocate 196.00M. That was not possible. There are 60.94M free.; (0x0)",
            Lack(196 * MIB, 60.94 * MIB, False),
        ),
        (
            "RESOURCE_EXHAUSTED: Attempting to reserve 6.48G at the bottom of memory. "
            "That was not possible. There are 6.78G free, 0B reserved, and 3.33G "
            "reservable.",
            Lack(6.48 * GIB, 6.78 * GIB, False),
        ),
        (GPU, Lack(6 * MIB, None, False)),
        (
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1.50GiB.",
            Lack(1.5 * GIB, None, False),
        ),
        (
            "RESOURCE_EXHAUSTED: Failed to allocate request for 256.00MiB "
            "(268435456B) on device ordinal 0",
            Lack(256 * MIB, None, False),
        ),
        (
            "RESOURCE_EXHAUSTED: Out of memory allocating 281474976710656 bytes.",
            Lack(2.0**48, None, False),
        ),
    ],
)
def test_what_was_asked_for_and_what_there_was_is_read(message, lack):
    assert shortage.ran_out(message)
    assert shortage.lack(message) == lack


def test_arrays_are_read_where_a_compiler_names_them():
    place = "jit(train_step)/jvp(VLM)/decoder/mul"
    expected = [Piece(4 * GIB, place), Piece(512.5 * MIB, "jit(train_step)/dot")]
    assert shortage.named(OLD_TPU) == expected
    place = "jit(concatenate)/concatenate[dimension=0]"
    assert shortage.named(GPU) == [Piece(6 * MIB, place)]
    assert shortage.named(TPU) == []


def test_other_errors_are_no_shortage():
    message = "INVALID_ARGUMENT: no such option"
    assert not shortage.ran_out(message)
    assert shortage.lack(message) is None
