import json

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.convert import tensor_reader, tensor_writer
from mmjax.convert.tensor_writer import Pending

BF16 = np.dtype(jnp.bfloat16)
TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.linspace(-1, 1, 5).astype(BF16),
    "c": np.array([True, False, True]),
    "d": np.arange(4, dtype=np.int64),
    "empty": np.zeros((0, 3), np.float16),
}


def pending(name: str, array: np.ndarray) -> Pending:
    return Pending(name, array.shape, array.dtype, lambda: array)


@pytest.fixture
def file(tmp_path):
    tensors = [pending(name, array) for name, array in TENSORS.items()]
    tensor_writer.write(tmp_path, tensors, 10**9)
    return tmp_path / "model.safetensors"


def assert_same(found):
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_is_written_is_read_as_views_of_the_file(file):
    found = tensor_reader.read(file)
    assert_same(found)
    assert not any(array.flags.owndata for array in found.values())
    assert not any(array.flags.writeable for array in found.values())


@pytest.mark.extra
def test_the_library_reads_what_we_write_and_we_read_what_it_writes(file, tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    without_bf16 = {n: a for n, a in library.load_file(file).items() if n != "b"}
    for name, array in without_bf16.items():
        np.testing.assert_array_equal(array, TENSORS[name])
    library.save_file(TENSORS, tmp_path / "theirs.safetensors")
    assert_same(tensor_reader.read(tmp_path / "theirs.safetensors"))


def header_of(path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(path, header, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_a_truncated_file_is_refused(file, cut):
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"is empty|no header|is it truncated\?"):
        tensor_reader.read(file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_offsets": [4, 28]}, "without gap or overlap"),
        ({"data_offsets": [0, 20]}, "has 20 bytes, its shape"),
        ({"data_offsets": [24, 0]}, "must be counts from 0 on"),
        ({"data_offsets": [-24, 0]}, "must be counts from 0 on"),
        ({"data_offsets": [0]}, "is not a dtype, a shape and data_offsets"),
        ({"shape": [2, 2]}, r"its shape \[2, 2\] of F32 needs 16"),
        ({"shape": [2, -3]}, "must be counts from 0 on"),
        ({"shape": [True, 6]}, "must be counts from 0 on"),
        ({"dtype": "F4"}, "is of dtype F4; read are"),
        ({"shape": [2**40], "data_offsets": [0, 2**42]}, "without gap|truncated"),
    ],
)
def test_a_header_that_does_not_fit_the_bytes_is_refused(file, change, reason):
    header, data = header_of(file)
    header["a"] |= change
    rewrite(file, header, data)
    with pytest.raises(ValueError, match=reason):
        tensor_reader.read(file)


def test_two_tensors_of_the_same_bytes_are_refused(file):
    header, data = header_of(file)
    header["again"] = header["a"]
    rewrite(file, header, data)
    with pytest.raises(ValueError, match="without gap or overlap"):
        tensor_reader.read(file)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"{", "can't be read"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe", "can't be read"),
        (b'{"a": 1, "a": 2}', "'a' stands in it twice"),
        (b'{"a": 1}', "is not a dtype, a shape and data_offsets"),
    ],
)
def test_a_header_that_is_no_header_is_refused(file, header, reason):
    rewrite(file, header, b"")
    with pytest.raises(ValueError, match=reason):
        tensor_reader.read(file)


def test_files_are_as_large_as_allowed_and_the_index_finds_every_tensor(tmp_path):
    arrays = {f"t{i}": np.full(10, i, np.float32) for i in range(5)}
    arrays["large"] = np.zeros(40, np.float32)
    tensors = [pending(name, array) for name, array in arrays.items()]
    tensor_writer.write(tmp_path, tensors, 100)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 5 * 40 + 160
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    for name, file in index["weight_map"].items():
        found = tensor_reader.read(tmp_path / file)
        assert sum(a.nbytes for a in found.values()) <= 100 or len(found) == 1
        np.testing.assert_array_equal(found[name], arrays[name])
