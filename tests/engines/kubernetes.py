"""Argo Workflows, Jobs of Kubernetes and PipelineRuns of Tekton, each with the stand-in in `kubernetes_server.py`."""

import json
import pathlib
import re

import requests
from engine import Engine, Run, StandIn
from kubernetes_server import NAMESPACE, TOKEN, Api, Failure, Workflows, params

SERVER = pathlib.Path(__file__).with_name("kubernetes_server.py")


class Cluster(StandIn):
    """An API of the stand-in. The runs are the objects that it lists; a run's input is what its container got as payload."""

    plural: str
    path: str
    # The class of the stand-in, whose `error` spells errors.
    api: type
    unknown_run = f"sluice-{Engine.unknown_run.lower()}"
    constants = {}

    def command(self) -> list:
        return [SERVER, self.plural, self.port, self.directory / "objects"]

    def is_ready(self) -> bool:
        return self.get(self.path).ok

    def variables(self) -> dict:
        return {"engine": self.name, "engine_token": TOKEN, "settings": {"engine": {"namespace": NAMESPACE} | self.constants}}

    def runs(self, event: str) -> list[Run]:
        things = self.get(self.path).json()["items"] or []
        return [self.run(thing) for thing in things if json.loads(self.sent(thing)).get("event") == event]

    def run(self, thing: dict) -> Run:
        name = thing["metadata"]["name"]
        # Before the container runs, there is nothing.
        seen = self.get(f"/stand-in/logs/{name}")
        return Run(name, self.state(thing), seen.content if seen.ok else None, self.outcome(thing))

    def sent(self, thing: dict) -> str:
        """The payload in the object."""
        return params(thing["spec"])["data"]

    def attributes(self, thing: dict) -> str:
        """The attributes of the event in the object; empty for a webhook."""
        return params(thing["spec"])["event"]

    def outcome(self, _thing: dict) -> list:
        return []

    def payload(self, run: Run) -> bytes:
        return run.input

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30)

    def fail(self, operation: str, status: int, reason: str, message: str, acts=False):
        """Lets the next request fail whose `METHOD path` contains the regular expression; with `acts` after it was done."""
        _, body = self.api.error(Failure(status, reason, message))
        self.answer(operation, status, body, acts)

    def answer(self, operation: str, status: int, body, acts=False):
        """Sets the whole answer to such a request: JSON, or text."""
        answer = {"operation": operation, "status": status, "body": body, "acts": acts}
        requests.put(f"{self.url}/stand-in/answer", json=answer, timeout=30).raise_for_status()


class ArgoWorkflows(Cluster):
    """The workflow `wait` has a suspended node `approval` with the output `data`."""

    name = "argo-workflows"
    plural, api = "workflows", Workflows
    path = f"/api/v1/workflows/{NAMESPACE}"
    workflow, waiting, unknown = "record", "wait", "nobody"
    starts = f"^POST {path}$"
    resumes = f"^PUT {path}/[^/]+/set$"
    keeps_early = False

    def state(self, workflow: dict) -> str:
        nodes = workflow["status"].get("nodes", {})
        if nodes.get("approval", {}).get("phase") == "Running":
            return "waiting"
        return {"Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}.get(workflow["status"].get("phase"), "running")

    def outcome(self, workflow: dict) -> list:
        node = workflow["status"].get("nodes", {}).get("approval", {"phase": "Running"})
        if node["phase"] == "Running":
            return []
        [data] = [param.get("value") for param in node["outputs"]["parameters"]]
        return [{"status": node["phase"].lower()} | ({"data": json.loads(data)} if data is not None else {})]

    def makes_of(self, payload: bytes) -> bytes:
        return inert(payload)


class KubernetesJob(Cluster):
    name = "kubernetes-job"
    plural, api = "jobs", Api
    path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    workflow = "record"
    starts = f"^POST {path}$"
    callbacks = False
    constants = {"image": "registry.example/tasks:1"}
    largest = 200_000

    def sent(self, thing: dict) -> str:
        return thing["spec"]["template"]["metadata"]["annotations"]["sluice.dev/data"]

    def attributes(self, thing: dict) -> str:
        return thing["spec"]["template"]["metadata"]["annotations"].get("sluice.dev/event", "")

    def state(self, job: dict) -> str:
        return "succeeded" if job["status"].get("succeeded") else "running"


class Tekton(Cluster):
    name = "tekton"
    plural, api = "pipelineruns", Api
    path = f"/apis/tekton.dev/v1/namespaces/{NAMESPACE}/pipelineruns"
    workflow = "record"
    starts = f"^POST {path}$"
    callbacks = False

    def state(self, run: dict) -> str:
        status = run["status"].get("conditions", [{}])[0].get("status")
        return {"True": "succeeded", "False": "failed"}.get(status, "running")

    def makes_of(self, payload: bytes) -> bytes:
        return inert(payload)


def inert(payload: bytes) -> bytes:
    """The same JSON without braces and dollar signs in its strings, and in printable ASCII only."""

    def escaped(char: str) -> str:
        units = char.encode("utf-16-be")
        return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))

    def of_string(found: re.Match) -> str:
        return re.sub(r"[{}$]|[^ -~]", lambda char: escaped(char[0]), found[0])

    return re.sub(r'"(?:[^"\\]|\\.)*"', of_string, payload.decode()).encode()
