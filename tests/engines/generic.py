"""The profile `generic`, with the endpoint in `generic_server.py`."""

import json
import pathlib

import requests
from engine import Run, StandIn

SERVER = pathlib.Path(__file__).with_name("generic_server.py")


class Adapter(StandIn):
    """Each request that the endpoint has kept counts as a run, with the idempotency key as its id."""

    name = "generic"
    workflow, unknown = "record", "nobody"
    starts = "^POST /hooks/record$"
    starts_once = callbacks = False

    def command(self) -> list:
        return [SERVER, self.port, self.directory / "requests"]

    def is_ready(self) -> bool:
        return requests.get(self.url, timeout=5).ok

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
