"""What tests of running tasks share."""

import pytest
import synthetic


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    with synthetic.quick_compilation():
        yield
