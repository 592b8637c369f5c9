"""What every test shares: 8 virtual devices, shape checks, and where real data lies."""

import os
import pathlib
import signal
import tempfile

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # the first process has it for all
    # What several tests compile is compiled by the first of them.
    _compiled = tempfile.TemporaryDirectory(prefix="mmjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    )

from jaxtyping import install_import_hook

# Annotations that cross a file border are checked while tests run.
_hook = install_import_hook(["mmjax.ops", "mmjax.models"], "beartype.beartype")

# A shell that starts tests in the background has SIGINT ignored, for all below it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real corpora; tests that want it are skipped where it is absent."""
    path = os.environ.get("MMJAX_TEST_DATA", ROOT.parent / "shared" / "data")
    path = pathlib.Path(path).resolve()
    if not path.is_dir():
        pytest.skip(f"real data not found at {path} (set MMJAX_TEST_DATA)")
    return path


@pytest.fixture(scope="session")
def golden(real_data: pathlib.Path) -> pathlib.Path:
    """What the official scorers gave for known inputs: beside the real data."""
    path = real_data.parent / "golden"
    if not path.is_dir():
        pytest.skip(f"outputs of the official scorers not found at {path}")
    return path


@pytest.fixture(scope="module")
def answerer(tmp_path_factory):
    """A tiny model that is ready to answer."""
    import talking  # and with it jax, which most tests start otherwise

    return talking.make(tmp_path_factory.mktemp("talking"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The data of tiny runs."""
    import tiny_run

    return tiny_run.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def quick_compilation():
    """Programs are compiled fast, and run slowly."""
    import synthetic

    with synthetic.quick_compilation():
        yield
