"""Fixtures: the built component in the host, with the stand-in engine, and a browser.

`cargo xtask test` sets the environment variables.
"""

import base64
import contextlib
import http.server
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest
import requests
import trustme
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
    """A running host and its stand-in engine."""

    def __init__(self, url: str, engine: str, secrets: dict):
        self.url, self.engine, self.secrets = url, engine, secrets

    def engine_requests(self) -> list:
        """The requests that the engine has received, oldest first."""
        return requests.get(f"{self.engine}/stand-in/requests", timeout=10).json()["requests"]

    def engine_changes(self) -> list:
        """The requests that can change something at the engine, oldest first: no looks and no look-ups."""
        return [request for request in self.engine_requests() if request["method"] != "GET"]

    def clear(self):
        """Makes the engine forget its requests, but not its runs."""
        requests.delete(f"{self.engine}/stand-in/requests", timeout=10).raise_for_status()

    def engine_request(self) -> dict:
        """The engine's only request."""
        sent = self.engine_requests()
        assert len(sent) == 1, sent
        return sent[0]

    def params(self) -> dict:
        """The params of the engine's only request, by name."""
        return {param["name"]: param["value"] for param in json.loads(self.engine_request()["body"])["params"]}


@pytest.fixture(scope="session")
def data():
    """A function that makes directories for a store's data, in memory where possible: a disk takes milliseconds for
    each durable write, and no test simulates a power failure."""
    memory = pathlib.Path("/dev/shm")

    def make() -> tempfile.TemporaryDirectory:
        return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)

    return make


@contextlib.contextmanager
def host(state, secrets: dict, log=None, runtime_config=None, **variables):
    """Runs a host with its data in `state`, a source for each sender with secrets (a new and an old one), and more
    variables, of which objects and arrays are JSON. Its output goes to `log` if that is given."""
    port, engine_port = free_port(), free_port()
    url, engine = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{engine_port}"
    names = {sender: sender.replace("_", "-") for sender in secrets}
    sources = [
        {"name": names[sender], "sender": names[sender], "secrets": rotation, "callbacks": True}
        for sender, rotation in secrets.items()
    ]
    variables = {"engine_url": engine, "operator_token": "op3rator"} | ({"sources": sources} if sources else {}) | variables
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    environment = {f"SPIN_VARIABLE_{name.upper()}": text for name, text in texts.items()}
    process = subprocess.Popen(
        [
            os.environ.get("SLUICE_HOST_BIN", str(ROOT / "target/debug/sluice-host")),
            "--from", str(ROOT / "spin.toml"),
            "--listen", f"127.0.0.1:{port}",
            "--state-dir", str(state),
            *(["--runtime-config-file", str(runtime_config)] if runtime_config else []),
            f"--stand-in=127.0.0.1:{engine_port}", "--any-workflow", "--timing", "none",
        ],
        stdout=log,
        env=os.environ | environment,
    )
    try:
        for _ in range(600):
            assert process.poll() is None, f"the host exited with {process.returncode}"
            try:
                requests.get(f"{url}/readyz", timeout=10).raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        else:
            pytest.fail("the host wasn't ready within a minute")
        yield Sluice(url, engine, secrets)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


class Backend(http.server.ThreadingHTTPServer):
    """Records each request: its first line, headers and body, as bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received, self.failing = [], False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def record(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.received.append((self.raw_requestline, dict(self.headers.items()), body))
        if self.server.failing:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    # Any method: what nginx lets through is for the test to judge.
    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.record
        raise AttributeError(name)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def run_backend():
    with Backend() as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        yield backend
        backend.shutdown()


NGINX = """
{user}
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/tested.conf;
}}
"""


@contextlib.contextmanager
def nginx(directory, file: str, replacements: list, port: int):
    """Runs an nginx with a file of deploy/, which differs in `replacements` (pairs of texts) only, until it listens on
    `port`."""
    text = (ROOT / "deploy" / file).read_text()
    for original, replacement in replacements:
        assert original in text, original
        text = text.replace(original, replacement)
    (directory / "tested.conf").write_text(text)
    # As root, nginx would switch to a user that can't read the test's directory.
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, user=user))
    process = subprocess.Popen(["nginx", "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")])
    try:
        for _ in range(200):
            assert process.poll() is None, "nginx exited"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        else:
            pytest.fail("nginx didn't listen in time")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def issue_certificate(directory, name: str) -> ssl.SSLContext:
    """Writes a certificate for `name` and its key to the directory, and its authority to `ca.pem`. Returns a context
    that trusts it."""
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate = authority.issue_cert(name)
    for index, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(directory / "fullchain.pem"), append=index > 0)
    certificate.private_key_pem.write_to_path(str(directory / "privkey.pem"))
    return context


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
    with data() as state, host(state, {}, settings={"link_secrets": [os.urandom(16).hex(), "0ld"]}) as running:
        yield running


@pytest.fixture
def sluice(running):
    """A host without secrets, which accepts any sender. Its engine has no recorded requests."""
    running.clear()
    return running


@pytest.fixture
def guarded(running_with_secrets):
    """A host with secrets, which therefore requires signatures. Its engine has no recorded requests."""
    running_with_secrets.clear()
    return running_with_secrets


@pytest.fixture
def linked(running_with_links):
    """A host with callback links. Its engine has no recorded requests."""
    running_with_links.clear()
    return running_with_links


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser that resolves `sluice.test` to this machine. Unlike 127.0.0.1, this origin isn't trustworthy without
    TLS."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage",
        "host-resolver-rules=MAP sluice.test 127.0.0.1", f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    # The browser's log reports violations of the page's Content Security Policy.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(params=["with scripts", "without scripts"])
def page(browser, request):
    """The browser, once with and once without scripts."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": request.param == "without scripts"})
    return browser


def wait_for_text(page, text: str, tag="main"):
    """Waits until an element contains a text. Until then, errors of the driver are ignored, because the element of the
    previous page may disappear while it is read."""
    wait = WebDriverWait(page, 30, ignored_exceptions=[WebDriverException])
    wait.until(text_to_be_present_in_element((By.TAG_NAME, tag), text), f"{tag} doesn't contain {text!r}")


def wait_for_heading(page, text: str):
    wait_for_text(page, text, "h1")
