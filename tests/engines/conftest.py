"""Fixtures: each real engine, the proxy in front of it, and Sluice.

`cargo xtask test` sets the environment variables. `SLUICE_ENGINES=temporal,restate` limits the engines.
"""

import importlib
import os
import pathlib

import pytest
from proxy import Proxy
from sluice import running

# Each is a module with a class `Adapter`.
ENGINES = ["temporal", "restate", "prefect", "airflow", "kubernetes"]

HERE = pathlib.Path(__file__).parent


def chosen() -> list[str]:
    """The engines that the environment chooses, by default all that have an adapter."""
    names = [name for name in os.environ.get("SLUICE_ENGINES", "").split(",") if name]
    return names or [name for name in ENGINES if (HERE / f"{name}.py").is_file()]


@pytest.fixture(scope="session", params=chosen())
def engine(request, tmp_path_factory):
    """A running engine with a worker."""
    engine = importlib.import_module(request.param).Adapter(tmp_path_factory.mktemp(request.param))
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def session_proxy(engine):
    proxy = Proxy(engine.url)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def session_sluice(engine, session_proxy):
    with running(engine, session_proxy.url) as sluice:
        yield sluice


@pytest.fixture
def proxy(session_proxy):
    """The proxy, without faults and without recorded requests."""
    session_proxy.clear()
    yield session_proxy
    session_proxy.clear()


@pytest.fixture
def sluice(session_sluice, proxy):
    """A Sluice to which nothing is pending, in front of the proxy. Tests share it: each uses events of its own."""
    yield session_sluice
    proxy.clear()
    session_sluice.settle()
