"""What tests of the server share: one model, compiled once for all of them."""

import pytest
import serving
import synthetic
import talking


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    with synthetic.quick_compilation():
        yield


@pytest.fixture(scope="session")
def answerer(tmp_path_factory):
    return talking.make(tmp_path_factory.mktemp("talking"))


@pytest.fixture(scope="module")
def site(answerer):
    """A server with the usual limits."""
    with serving.served(answerer) as site:
        yield site


@pytest.fixture
def gate(monkeypatch):
    """The model held; opened at the end, whatever happens."""
    gate = serving.Gate(monkeypatch)
    yield gate
    gate.open()
