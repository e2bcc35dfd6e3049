"""Temporal: the development server with its data in a file, and a worker by the SDK for Python."""

import base64
import json

import requests
from engine import INSTALLED, WORKFLOWS, Engine, Process, Run, free_port

QUEUE = "sluice"

STATES = {"WORKFLOW_EXECUTION_STATUS_COMPLETED": "succeeded", "WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW": "continued"}


class Adapter(Engine):
    name = "temporal"
    workflow = "Record"
    waiting = "Wait"
    largest = 2_000_000
    starts = r"^POST /api/v1/namespaces/default/workflows/[^/]+$"
    resumes = r"^POST /api/v1/namespaces/default/workflows/[^/]+/signal/"

    def __init__(self, directory):
        super().__init__(directory)
        self.grpc, self.http, self.metrics = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.api = f"{self.url}/api/v1/namespaces/default"
        self.server = self.worker = None
        # The member `event` of each run's payload, by the engine's id of the run: it can't change.
        self.events = {}

    def start(self):
        self.restart()
        python = INSTALLED / "temporal/bin/python"
        command = [python, WORKFLOWS / "temporal_worker.py", f"127.0.0.1:{self.grpc}", QUEUE]
        self.worker = Process(command, self.directory / "worker.log")
        self.worker.wait_for(self.has_worker)

    def stop(self):
        for process in (self.worker, self.server):
            if process:
                process.stop()

    def kill(self):
        self.server.kill()

    def restart(self):
        command = [
            INSTALLED / "temporal/bin/temporal", "server", "start-dev", "--headless", "--ip", "127.0.0.1",
            "--port", self.grpc, "--http-port", self.http, "--metrics-port", self.metrics,
            "--db-filename", self.directory / "temporal.db", "--log-level", "error",
        ]
        self.server = Process(command, self.directory / "server.log")
        self.server.wait_for(lambda: requests.get(self.api, timeout=10).ok)

    def has_worker(self) -> bool:
        """Whether a worker polls the task queue."""
        return bool(self.get(f"/task-queues/{QUEUE}").get("pollers"))

    def variables(self) -> dict:
        return {"engine": self.name, "settings": {"engine": {"task_queue": QUEUE}}}

    def runs(self, event: str) -> list[Run]:
        return [self.run(shown) for shown in self.all() if self.event(shown["execution"]) == event]

    def all(self) -> list[dict]:
        """All runs, as the server lists them."""
        listed, token = [], ""
        while token is not None:
            page = self.get("/workflows", nextPageToken=token)
            listed += page.get("executions", [])
            token = page.get("nextPageToken")
        return listed

    def event(self, execution: dict) -> str | None:
        """The member `event` of the payload with which a run was started."""
        if execution["runId"] not in self.events:
            started = self.history(execution, maximumPageSize=1)["workflowExecutionStartedEventAttributes"]
            data = started["input"][0]["data"]
            self.events[execution["runId"]] = data.get("event") if isinstance(data, dict) else None
        return self.events[execution["runId"]]

    def run(self, shown: dict) -> Run:
        if shown["status"] == "WORKFLOW_EXECUTION_STATUS_RUNNING":
            state = "waiting" if shown["type"]["name"] == self.waiting else "running"
            seen = self.query(shown["execution"])
        else:
            state = STATES.get(shown["status"], "failed")
            closed = self.history(shown["execution"], historyEventFilterType="HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT")
            seen = closed["workflowExecutionCompletedEventAttributes"]["result"][0] if state == "succeeded" else {}
        # The API writes an empty array as null.
        outcome = [json.loads(base64.b64decode(one)) for one in seen.get("outcome") or []]
        return Run(shown["execution"]["workflowId"], state, base64.b64decode(seen.get("input", "")), outcome)

    def history(self, execution: dict, **query) -> dict:
        """The first event of a run's history that the query selects."""
        path = f"/workflows/{execution['workflowId']}/history"
        return self.get(path, **{"execution.runId": execution["runId"]}, **query)["history"]["events"][0]

    def events_of(self, workflow: str, kind: str) -> list[dict]:
        """The events of this kind in the history of a workflow."""
        events = self.get(f"/workflows/{workflow}/history")["history"]["events"]
        return [event for event in events if event["eventType"] == f"EVENT_TYPE_WORKFLOW_EXECUTION_{kind}"]

    def query(self, execution: dict) -> dict:
        """The answer of a running workflow to the query `seen`."""
        url = f"{self.api}/workflows/{execution['workflowId']}/query/seen"
        response = requests.post(url, json={"execution": execution}, timeout=30)
        response.raise_for_status()
        return response.json()["queryResult"][0]

    def get(self, path: str, **query) -> dict:
        response = requests.get(self.api + path, params=query, timeout=30)
        response.raise_for_status()
        return response.json()
