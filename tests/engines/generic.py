"""The profile `generic`, with the endpoint in `generic_server.py`."""

import json
import pathlib
import sys

import requests
from engine import Engine, Process, Run, free_port

SERVER = pathlib.Path(__file__).with_name("generic_server.py")


class Adapter(Engine):
    """Each request that the endpoint has kept counts as a run, with the idempotency key as its id."""

    name = "generic"
    workflow, unknown = "record", "nobody"
    starts = "^POST /hooks/record$"
    starts_once = callbacks = False

    def start(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.restart()

    def restart(self):
        command = [sys.executable, SERVER, self.port, self.directory / "requests"]
        self.server = Process(command, self.directory / "server.log")
        self.server.wait_for(lambda: requests.get(self.url, timeout=5).ok)

    def stop(self):
        if hasattr(self, "server"):
            self.server.stop()

    def kill(self):
        self.server.kill()

    def variables(self) -> dict:
        return {"engine": self.name, "settings": {"engine": {"base_path": "/hooks"}}}

    def runs(self, event: str) -> list[Run]:
        kept = [(request["headers"], bytes.fromhex(request["body"])) for request in self.kept()]
        return [
            Run(headers["idempotency-key"], "succeeded", body, [])
            for headers, body in kept
            if json.loads(body).get("event") == event
        ]

    def kept(self) -> list[dict]:
        return requests.get(self.url, timeout=30).json()

    def payload(self, run: Run) -> bytes:
        return run.input
