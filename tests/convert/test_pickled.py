import io
import pickle
import random
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.convert import pickled


def archive(path, content: bytes, **more: bytes):
    """A zip as torch.save makes it, around a pickle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", content)
        for name, data in more.items():
            file.writestr(f"archive/{name.replace('__', '/')}", data)
    return path


class Storage:
    """Pickled as a reference to the bytes of a storage, as torch does."""

    def __init__(self, kind: str, key: str, count: int):
        self.pid = ("storage", Global("torch", kind), key, "cpu", count)


class Global:
    """Pickled as the name of a class that needn't exist here."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Call:
    """Pickled as a call of a global."""

    def __init__(self, function: Global, *arguments):
        self.function, self.arguments = function, arguments


class _Pickler(pickle._Pickler):
    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Storage) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def dumped(value) -> bytes:
    out = io.BytesIO()
    _Pickler(out, 2).dump(value)
    return out.getvalue()


def tensor(storage: Storage, offset: int, shape: tuple, stride: tuple) -> Call:
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, offset, shape, stride, False, None)


def test_tensors_are_views_of_the_file(tmp_path):
    numbers = np.arange(12, dtype=np.float32)
    weights = {
        "whole": tensor(Storage("FloatStorage", "0", 12), 0, (3, 4), (4, 1)),
        "transposed": tensor(Storage("FloatStorage", "0", 12), 0, (4, 3), (1, 4)),
        "slice": tensor(Storage("FloatStorage", "0", 12), 5, (2,), (1,)),
        "number": tensor(Storage("FloatStorage", "0", 12), 7, (), ()),
        "half": tensor(Storage("BFloat16Storage", "1", 2), 0, (2,), (1,)),
    }
    half = np.array([1.5, -2], jnp.bfloat16)
    path = archive(
        tmp_path / "w.bin",
        dumped(weights),
        data__0=numbers.tobytes(),
        data__1=half.tobytes(),
    )
    found = pickled.read(path)
    np.testing.assert_array_equal(found["whole"], numbers.reshape(3, 4))
    np.testing.assert_array_equal(found["transposed"], numbers.reshape(3, 4).T)
    np.testing.assert_array_equal(found["slice"], [5, 6])
    assert found["number"] == 7
    assert found["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(found["half"], half)
    assert not any(array.flags.owndata for array in found.values())


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_weights_are_found_among_what_else_training_saves(tmp_path, wrapper):
    weights = {"module.a": tensor(Storage("FloatStorage", "0", 1), 0, (1,), (1,))}
    content = dumped({"epoch": 3, wrapper: weights})
    found = pickled.read(archive(tmp_path / "w.pt", content, data__0=b"\0\0\0\0"))
    assert list(found) == ["a"]


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path):
    made = tmp_path / "made"
    content = dumped({"a": Call(Global("os", "mkdir"), str(made))})
    with pytest.raises(ValueError, match=r"asks for os.mkdir; only tensors"):
        pickled.read(archive(tmp_path / "w.bin", content))
    assert not made.exists()
    for module, name in (("builtins", "eval"), ("torch", "load"), ("numpy", "load")):
        content = dumped({"a": Call(Global(module, name), "1")})
        with pytest.raises(ValueError, match=f"asks for {module}.{name};"):
            pickled.read(archive(tmp_path / "w.bin", content))


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [(0, (13,), (1,)), (9, (4,), (1,)), (-1, (2,), (1,)), (4, (2,), (-2,))],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, offset, shape, stride):
    one = tensor(Storage("FloatStorage", "0", 12), offset, shape, stride)
    path = archive(tmp_path / "w.bin", dumped({"a": one}), data__0=bytes(48))
    with pytest.raises(ValueError, match="reaches beyond its storage"):
        pickled.read(path)


def test_a_storage_that_is_missing_or_short_is_refused(tmp_path):
    content = dumped({"a": tensor(Storage("FloatStorage", "0", 12), 0, (1,), (1,))})
    with pytest.raises(ValueError, match="storage 0 is missing"):
        pickled.read(archive(tmp_path / "w.bin", content))
    with pytest.raises(ValueError, match="storage 0 has 40 bytes, 12 numbers"):
        pickled.read(archive(tmp_path / "w.bin", content, data__0=bytes(40)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x80\x02l", "no zip archive"),
        (random.Random(0).randbytes(64), "no zip"),
    ],
    ids=["empty", "start_of_a_pickle", "noise"],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, content, reason):
    path = tmp_path / "w.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        pickled.read(path)


def test_a_torchscript_archive_is_refused(tmp_path):
    path = archive(tmp_path / "w.pt", dumped({}), code__a=b"")
    with pytest.raises(ValueError, match="a TorchScript archive"):
        pickled.read(path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [([1], "no dict of tensors"), ({}, "no dict"), ({"a": 1}, "'a' is no tensor")],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, value, reason):
    with pytest.raises(ValueError, match=reason):
        pickled.read(archive(tmp_path / "w.bin", dumped(value)))


@pytest.mark.extra
def test_what_torch_saves_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    weights = {
        "a": torch.randn(4, 5).bfloat16(),
        "t": torch.randn(4, 5).T,
        "i": torch.arange(4),
        "p": module.weight,
        **module.state_dict(),
    }
    torch.save(weights, tmp_path / "w.bin")
    found = pickled.read(tmp_path / "w.bin")
    assert found.keys() == weights.keys()
    for name, array in found.items():
        expected = weights[name].detach().float().numpy()
        np.testing.assert_array_equal(np.asarray(array, np.float32), expected)
    torch.save(weights, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"saved by torch before 1\.6"):
        pickled.read(tmp_path / "old.bin")
