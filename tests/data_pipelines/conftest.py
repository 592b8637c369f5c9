"""What tests of the data pipelines share: a small corpus, and its first batches."""

import pytest
import small_world

from data_pipelines import pipeline


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small prepared corpus, of the test file alone."""
    return small_world.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def opened(world):
    return pipeline.open(world.config())


@pytest.fixture(scope="module")
def reference(world):
    """Batches 0 to 5, made one after another by one thread."""
    return list(pipeline.open(world.config(threads=1, prefetch=1)).batches(0, 6))
