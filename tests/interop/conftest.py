"""The built component in the host, with the stand-in engine, for real clients. `cargo xtask test` sets the variables."""

import base64
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sluice:
    """One running host, and what its engine got."""

    def __init__(self, url: str, engine: str, secrets: dict):
        self.url, self.engine, self.secrets = url, engine, secrets

    def sent(self) -> list:
        return requests.get(f"{self.engine}/stand-in/requests", timeout=10).json()["requests"]

    def forget(self):
        requests.delete(f"{self.engine}/stand-in/requests", timeout=10).raise_for_status()

    def only_sent(self) -> dict:
        sent = self.sent()
        assert len(sent) == 1, sent
        return sent[0]

    def params(self) -> dict:
        return {param["name"]: param["value"] for param in json.loads(self.only_sent()["body"])["params"]}


@pytest.fixture(scope="session")
def data():
    """A directory for a store's data: in memory where the system has that, for a disk takes milliseconds to make each
    write durable, and no test pulls the plug."""
    memory = pathlib.Path("/dev/shm")

    def make() -> tempfile.TemporaryDirectory:
        return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)

    return make


@contextlib.contextmanager
def host(state, secrets: dict, log=None, runtime_config=None, **more):
    """Starts a host, with two secrets a sender, the new one and the old one. What it prints goes to `log`, if there is one."""
    port, engine_port = free_port(), free_port()
    url, engine = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{engine_port}"
    variables = {"engine_url": engine, "operator_token": "op3rator"}
    variables |= {f"secret_{sender}": ",".join(both) for sender, both in secrets.items()} | more
    process = subprocess.Popen(
        [
            os.environ.get("SLUICE_HOST_BIN", str(ROOT / "target/debug/sluice-host")),
            "--from", str(ROOT / "spin.toml"),
            "--listen", f"127.0.0.1:{port}",
            "--state-dir", str(state),
            *(f"--variable={name}={value}" for name, value in variables.items()),
            *(["--runtime-config-file", str(runtime_config)] if runtime_config else []),
            f"--stand-in=127.0.0.1:{engine_port}",
        ],
        stdout=log,
    )
    try:
        for _ in range(600):
            assert process.poll() is None, f"the host ended with {process.returncode}"
            try:
                requests.get(f"{url}/readyz", timeout=10).raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        else:
            pytest.fail("the host is not ready after a minute")
        yield Sluice(url, engine, secrets)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def running(data):
    with data() as state, host(state, {}) as running:
        yield running


@pytest.fixture(scope="session")
def running_with_secrets(data):
    def whsec():
        return "whsec_" + base64.b64encode(os.urandom(32)).decode()

    makers = {
        "github": lambda: os.urandom(16).hex(),
        "slack": lambda: os.urandom(16).hex(),
        "standard_webhooks": whsec,
        "stripe": whsec,
        "twilio": lambda: os.urandom(16).hex(),
    }
    secrets = {sender: (make(), make()) for sender, make in makers.items()}
    with data() as state, host(state, secrets) as running:
        yield running


@pytest.fixture(scope="session")
def running_with_links(data):
    with data() as state, host(state, {}, link_secret=f"{os.urandom(16).hex()},0ld") as running:
        yield running


@pytest.fixture
def sluice(running):
    """The running host with an engine that has seen nothing yet."""
    running.forget()
    return running


@pytest.fixture
def guarded(running_with_secrets):
    """The same with secrets, so that it asks for signatures."""
    running_with_secrets.forget()
    return running_with_secrets


@pytest.fixture
def linked(running_with_links):
    """The same with callback links."""
    running_with_links.forget()
    return running_with_links


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser for which `sluice.test` is this machine: unlike 127.0.0.1, a place that it doesn't trust without TLS."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage",
        "host-resolver-rules=MAP sluice.test 127.0.0.1", f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    # What the page's own policy forbids is told here.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(params=["with scripts", "without scripts"])
def page(browser, request):
    """The browser as most people have it, and as the careful do."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": request.param == "without scripts"})
    return browser


def shows(page, text: str, tag="main"):
    """Once a click or a key has led to it. What is looked at may go away meanwhile with the page before it, for which the
    driver has several errors: none of them is an answer yet."""
    wait = WebDriverWait(page, 30, ignored_exceptions=[WebDriverException])
    wait.until(text_to_be_present_in_element((By.TAG_NAME, tag), text), f"{tag} shows {text}")


def heading(page, text: str):
    shows(page, text, "h1")
