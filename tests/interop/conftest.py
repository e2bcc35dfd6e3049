"""The built component in the host, with the stand-in engine, for real clients. `cargo xtask test` sets the variables."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sluice:
    """One running host, and what its engine got."""

    def __init__(self, url: str, engine: str):
        self.url, self.engine = url, engine

    def only_sent(self) -> dict:
        sent = requests.get(f"{self.engine}/stand-in/requests", timeout=10).json()["requests"]
        assert len(sent) == 1, sent
        return sent[0]

    def params(self) -> dict:
        return {param["name"]: param["value"] for param in json.loads(self.only_sent()["body"])["params"]}


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    port, engine_port = free_port(), free_port()
    url, engine = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{engine_port}"
    host = subprocess.Popen(
        [
            os.environ.get("SLUICE_HOST_BIN", str(ROOT / "target/debug/sluice-host")),
            "--from", str(ROOT / "spin.toml"),
            "--listen", f"127.0.0.1:{port}",
            "--state-dir", str(tmp_path_factory.mktemp("state")),
            "--variable", f"engine_url={engine}",
            "--variable", "operator_token=op3rator",
            f"--stand-in=127.0.0.1:{engine_port}",
        ]
    )
    try:
        for _ in range(600):
            assert host.poll() is None, f"the host ended with {host.returncode}"
            try:
                requests.get(f"{url}/readyz", timeout=10).raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        else:
            pytest.fail("the host is not ready after a minute")
        yield Sluice(url, engine)
    finally:
        host.send_signal(signal.SIGTERM)
        host.wait(timeout=30)


@pytest.fixture
def sluice(running):
    """The running host with an engine that has seen nothing yet."""
    requests.delete(f"{running.engine}/stand-in/requests", timeout=10).raise_for_status()
    return running
