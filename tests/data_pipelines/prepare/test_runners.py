"""Runners are checked before anything starts, and what they can't do is one line."""

import importlib.util
import sys

import pytest

pytest.importorskip("apache_beam")

from data_pipelines.prepare import runners
from data_pipelines.prepare.runners import Engine

pytestmark = pytest.mark.extra

REFUSED = [
    (Engine("SparkleRunner"), r"--runner=SparkleRunner: must be one of DirectRunner,"),
    (Engine(flags=["--regoin=x"]), r"--beam: Beam doesn't know regoin"),
    (Engine(flags=["--num_workers=many"]), r"--beam: .*num_workers.*invalid int"),
]


@pytest.mark.parametrize(("engine", "words"), REFUSED)
def test_what_beam_cant_do_is_one_clear_line(engine, words):
    with pytest.raises(ValueError, match=words) as told:
        runners.check(engine)
    assert "\n" not in str(told.value)


def test_dask_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'apache-beam\[dask\]'"):
        runners.check(Engine("DaskRunner"))


CLUSTERS = [
    ("DataflowRunner", "--project=p", "--region=r", "--sdk_container_image=i",
     "--temp_location=gs://b/t", "--max_num_workers=9"),
    ("FlinkRunner", "--flink_master=host:8081", "--environment_type=EXTERNAL",
     "--environment_config=localhost:50000", "--parallelism=4"),
    ("SparkRunner", "--spark_master_url=spark://h:7077", "--environment_type=LOOPBACK"),
    ("PortableRunner", "--job_endpoint=localhost:8099", "--environment_type=LOOPBACK"),
    ("DaskRunner", "--dask_client_address=tcp://host:8786"),
]  # fmt: skip


@pytest.mark.parametrize("given", CLUSTERS)
def test_flags_that_the_page_names_are_beams(given, monkeypatch):
    if given[0] == "DaskRunner" and not importlib.util.find_spec("distributed"):
        pytest.skip("needs dask")
    if given[0] == "DataflowRunner":
        monkeypatch.setattr(runners, "_NEEDS", {})  # its flags are known without gcp
    runners.check(Engine(given[0], flags=given[1:]))
