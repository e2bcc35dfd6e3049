"""Fixtures: each real engine, the proxy in front of it, and Sluice.

`cargo xtask test` sets the environment variables. `SLUICE_ENGINES=temporal,restate` limits the engines.
"""

import importlib
import os
import pathlib

import pytest
from proxy import Proxy
from sluice import running

# The class of each engine's adapter.
ENGINES = {
    "temporal": "temporal:Adapter",
    "restate": "restate:Adapter",
    "prefect": "prefect:Adapter",
    "airflow": "airflow:Adapter",
    "argo-workflows": "kubernetes:ArgoWorkflows",
    "kubernetes-job": "kubernetes:KubernetesJob",
    "tekton": "kubernetes:Tekton",
    "generic": "generic:Adapter",
}

HERE = pathlib.Path(__file__).parent


def chosen() -> list[str]:
    """The engines that the environment chooses, by default all that have an adapter."""
    names = [name for name in os.environ.get("SLUICE_ENGINES", "").split(",") if name]
    return names or [name for name, adapter in ENGINES.items() if (HERE / f"{adapter.partition(':')[0]}.py").is_file()]


def adapter(name: str) -> type:
    module, _, attribute = ENGINES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.fixture(scope="session", params=chosen())
def engine(request, tmp_path_factory):
    """A running engine with a worker."""
    engine = adapter(request.param)(tmp_path_factory.mktemp(request.param))
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


def needed(engine, what: str, reason: str):
    """Skips the test with a reason if the engine's adapter says that it can't do this."""
    if not getattr(engine, what):
        pytest.skip(f"{engine.name}: {reason}")


@pytest.fixture
def starts_once(engine):
    needed(engine, "starts_once", "a start after doubt is sent at least once")


@pytest.fixture
def callbacks(engine):
    needed(engine, "callbacks", "the profile has no callbacks")


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
    """A Sluice to which nothing is pending, in front of the proxy. Tests share it: each uses events of its own.

    After the test, nothing may be pending, and no dead letter may be left that the test hasn't taken by `dead`.
    """
    yield session_sluice
    proxy.clear()
    session_sluice.settle()
    assert session_sluice.dead() == []
