"""Sluice in its host, and its API."""

import contextlib
import json
import os
import pathlib
import tempfile
import time
import uuid

import requests
from engine import ROOT, Process, eventually, free_port

HOST = os.environ.get("SLUICE_HOST_BIN", str(ROOT / "target/debug/sluice-host"))
# A directory with profiles in place of those in the component, to try a profile without compiling.
PROFILES = os.environ.get("SLUICE_PROFILES")

MANIFEST = os.environ.get("SLUICE_MANIFEST", str(ROOT / "spin.toml"))

OPERATOR = "op3rator"

# A sender waits for the engine for 4 s, and an attempt is given up after 5 s, so that a test of a lost answer takes
# seconds. A busy machine must not reach these times when the engine is well.
SETTINGS = {
    "open": True,
    "engine_connect_ms": 2000,
    "engine_timeout_ms": 5000,
    "engine_wait_ms": 4000,
    "callback_early_ms": 4000,
}


def has(response: requests.Response, *statuses: int) -> requests.Response:
    """The response, whose status is one of these."""
    assert response.status_code in statuses, f"{response.status_code} {response.headers}\n{response.text}"
    return response


def new_event() -> str:
    """A text that no other test uses: the member `event` of a payload, by which `Engine.runs` finds its runs."""
    return uuid.uuid4().hex


class Sluice:
    """A host with a store of its own. `engine_url` is that of the proxy."""

    def __init__(self, engine, engine_url: str, directory: pathlib.Path, **variables):
        self.engine, self.port = engine, free_port()
        self.url, self.directory = f"http://127.0.0.1:{self.port}", directory
        own = engine.variables()
        settings = SETTINGS | own.get("settings", {}) | variables.pop("settings", {})
        self.variables = {"operator_token": OPERATOR} | own | variables | {"engine_url": engine_url, "settings": settings}
        if PROFILES:
            self.variables["engine"] = (pathlib.Path(PROFILES) / f"{own['engine']}.json").read_text()
        self.process = None

    def start(self):
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.variables.items()}
        environment = {f"SPIN_VARIABLE_{name.upper()}": text for name, text in texts.items()}
        command = [HOST, "--from", MANIFEST, "--listen", f"127.0.0.1:{self.port}", "--state-dir", self.directory]
        self.process = Process(command, self.directory / "host.log", env=environment)
        ready = self.process.wait_for(self.readyz)
        assert not ready.get("errors"), ready

    def stop(self):
        self.process.stop()

    def readyz(self) -> dict:
        """The body of `/readyz`."""
        return requests.get(f"{self.url}/readyz", timeout=10).json()

    def event(self, workflow: str, data, event_id=None, source="/tests") -> requests.Response:
        """Delivers a CloudEvent in binary mode. `data` are the bytes of a JSON text, or a value."""
        headers = {
            "content-type": "application/json",
            "ce-specversion": "1.0",
            "ce-id": event_id or new_event(),
            "ce-source": source,
            "ce-type": "com.example.test",
        }
        return self.post("/api/v2/event", {"ref": workflow}, data, headers)

    def webhook(self, workflow: str, data, key=None) -> requests.Response:
        """Delivers a webhook, with an `Idempotency-Key` if one is given."""
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        return self.post("/api/v2/webhook", {"ref": workflow}, data, headers)

    def callback(self, ref: str, topic: str, status="succeeded", data=None) -> requests.Response:
        """Delivers a callback, without a payload if `data` is `None`."""
        headers = {} if data is None else {"content-type": "application/json"}
        return self.post("/api/v2/callback", {"ref": ref, "topic": topic, "status": status}, data, headers)

    def post(self, path: str, query: dict, data, headers: dict) -> requests.Response:
        body = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data).encode()
        return requests.post(self.url + path, params=query, data=body, headers=headers, timeout=60)

    def operator(self, method: str, path: str, **options) -> requests.Response:
        """A request with the operator's token."""
        return requests.request(method, self.url + path, headers={"authorization": f"Bearer {OPERATOR}"}, timeout=60, **options)

    def deliveries(self, state: str) -> list[dict]:
        """The deliveries in a state: `pending` or `dead`."""
        response = self.operator("GET", "/api/v2/deliveries", params={"state": state})
        response.raise_for_status()
        return response.json()["deliveries"]

    def dead(self) -> list[dict]:
        """The dead letters, which this call deletes."""
        dead = self.deliveries("dead")
        for delivery in dead:
            has(self.operator("DELETE", f"/api/v2/deliveries/{delivery['id']}"), 200, 202, 204)
        return dead

    def drain(self) -> dict:
        """One pass of the drain."""
        response = self.operator("POST", "/api/v2/deliveries/drain")
        response.raise_for_status()
        return response.json()

    def settle(self, seconds=120):
        """Drains until nothing is pending."""
        end, pending = time.monotonic() + seconds, None
        while time.monotonic() < end:
            self.drain()
            pending = self.deliveries("pending")
            if not pending:
                return
            time.sleep(0.3)
        raise AssertionError(f"still pending after {seconds} s: {json.dumps(pending, indent=2)}")


@contextlib.contextmanager
def running(engine, engine_url: str, **variables):
    """A running Sluice whose data are in memory where possible."""
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        sluice = Sluice(engine, engine_url, pathlib.Path(directory), **variables)
        try:
            sluice.start()
            yield sluice
        finally:
            if sluice.process:
                sluice.stop()


def wait_for_runs(engine, event: str, count=1, state="succeeded", seconds=120) -> list:
    """The runs of an event, once there are `count` and all are in this state."""

    def check():
        runs = engine.runs(event)
        return len(runs) == count and all(run.state == state for run in runs) and runs

    return eventually(check, seconds, f"the engine didn't have {count} runs in the state {state}; it has {engine.runs(event)}")
