"""Fixtures: each real engine, the proxy in front of it, and Sluice.

`cargo xtask test` sets the environment variables. `SLUICE_ENGINES=temporal,restate` limits the engines.
"""

import importlib
import os
import pathlib

import pytest
from proxy import Proxy
from sluice import has, new_event, running, wait_for_runs

# The class of each engine's adapter. The slow ones are first, so that they don't run alone at the end.
ENGINES = {
    "airflow": "airflow:Adapter",
    "prefect": "prefect:Adapter",
    "temporal": "temporal:Adapter",
    "restate": "restate:Adapter",
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


def pytest_configure(config):
    config.addinivalue_line("markers", "only(name, …): a test of these engines")


def pytest_collection_modifyitems(config, items):
    """Removes tests of other engines than those that their marker `only` names."""

    def belongs(item) -> bool:
        marker = item.get_closest_marker("only")
        return marker is None or item.callspec.params["engine"] in marker.args

    removed = [item for item in items if not belongs(item)]
    items[:] = [item for item in items if belongs(item)]
    config.hook.pytest_deselected(items=removed)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With pytest-xdist, the tests of an engine run one after the other in one process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByEngine(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            """The engine, whose name is the first parameter of its tests; for other tests their file."""
            file, _, parameters = nodeid.partition("[")
            names = [name for name in ENGINES if parameters.startswith((f"{name}-", f"{name}]"))]
            return max(names, key=len, default=file.partition("::")[0])

    return ByEngine(config, log)


@pytest.fixture(scope="session", params=chosen())
def engine(request, tmp_path_factory):
    """A running engine with a worker."""
    engine = adapter(request.param)(tmp_path_factory.mktemp(request.param))
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


class Waiting:
    """Runs that wait for the topic. They are started in advance, since the runs of some engines take seconds until they
    wait."""

    def __init__(self, engine, sluice, size=8):
        self.engine, self.sluice, self.size, self.runs = engine, sluice, size, []

    def take(self) -> tuple:
        """An event and its run, which waits, and which no other test has."""
        if not self.runs:
            events = [new_event() for _ in range(self.size)]
            for event in events:
                has(self.sluice.event(self.engine.waiting, {"event": event}, event), 200, 202)
            self.sluice.settle()
            self.runs = [(event, run) for event in events for run in wait_for_runs(self.engine, event, state="waiting")]
        return self.runs.pop(0)


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


@pytest.fixture(scope="session")
def runs_that_wait(engine, session_sluice):
    return Waiting(engine, session_sluice)


@pytest.fixture
def waiting(runs_that_wait, sluice, proxy):
    """An event and its run, which waits for the topic."""
    taken = runs_that_wait.take()
    proxy.clear()
    return taken


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
