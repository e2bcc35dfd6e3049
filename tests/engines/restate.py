"""Restate: the server of npm `@restatedev/restate-server`, and a service by its SDK."""

import json
import platform

import requests
from engine import INSTALLED, WORKFLOWS, Engine, Process, Run, eventually, free_port

MODULES = INSTALLED / "restate" / "node_modules"


class Adapter(Engine):
    """A server that keeps its data in a directory, and the service in `workflows/restate.mjs`."""

    name = "restate"
    workflow = "recorder"
    waiting = "approver"
    unknown = "nobody"
    unknown_run = f"approver!{Engine.unknown_run}"
    starts = "^POST /(recorder|approver)/[^/]+/run/send$"
    resumes = "^POST /approver/[^/]+/approval/send$"

    def start(self):
        self.ingress, self.admin, self.node, self.service = (free_port() for _ in range(4))
        self.url, self.admin_url = f"http://127.0.0.1:{self.ingress}", f"http://127.0.0.1:{self.admin}"
        program = ["node", WORKFLOWS / "restate.mjs"]
        log = self.directory / "service.log"
        self.handlers = Process(program, log, env={"PORT": str(self.service), "RESTATE_LOGGING": "WARN"}, cwd=MODULES.parent)
        self.handlers.wait_for(lambda: "serving at" in self.handlers.tail())
        self.restart()
        deployment = {"uri": f"http://127.0.0.1:{self.service}"}
        requests.post(f"{self.admin_url}/deployments", json=deployment, timeout=30).raise_for_status()
        # The ingress learns of the deployment after a delay.
        eventually(lambda: "approver" in requests.get(f"{self.url}/restate/health", timeout=5).json()["services"])

    def restart(self):
        machine = {"aarch64": "arm64"}.get(platform.machine(), "x64")
        # The program itself is started, because killing npm's wrapper script would leave it running.
        program = MODULES / f"@restatedev/restate-server-linux-{machine}" / "bin/restate-server"
        environment = {
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self.admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self.node}",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_DEFAULT_NUM_PARTITIONS": "2",
            "RUST_LOG": "warn",
        }
        command = [program, "--no-logo", "--node-name", "tests", "--base-dir", self.directory / "data"]
        self.server = Process(command, self.directory / "server.log", env=environment)
        self.server.wait_for(self.ready)

    def ready(self) -> bool:
        """Whether the partitions have a leader: only then tables can be read, and invocations are taken."""
        return requests.post(f"{self.admin_url}/query", json={"query": "SELECT id FROM sys_invocation"}, timeout=5).ok

    def stop(self):
        for process in (getattr(self, "server", None), getattr(self, "handlers", None)):
            if process:
                process.stop()

    def kill(self):
        self.server.kill()

    def variables(self) -> dict:
        return {"engine": "restate"}

    def runs(self, event: str) -> list[Run]:
        """The invocations of `run`, by the table `sys_invocation`. What they got is in the table `state`."""
        rows = self.sql(
            "SELECT i.target_service_name AS service, i.target_service_key AS key, i.status, i.completion_result AS result, "
            "s.key AS name, s.value FROM sys_invocation i JOIN state s "
            "ON s.service_name = i.target_service_name AND s.service_key = i.target_service_key "
            "WHERE i.target_handler_name = 'run' AND s.key IN ('input', 'outcome')"
        )
        runs = {}
        for row in rows:
            run = runs.setdefault(f"{row['service']}!{row['key']}", {"row": row})
            run[row["name"]] = bytes.fromhex(row["value"])
        found = ((reference, run) for reference, run in runs.items() if json.loads(run["input"])["data"].get("event") == event)
        return [Run(reference, state(run["row"]), run["input"], outcome(run)) for reference, run in found]

    def sql(self, query: str) -> list[dict]:
        url, headers = f"{self.admin_url}/query", {"accept": "application/json"}
        response = requests.post(url, json={"query": query}, headers=headers, timeout=30)
        response.raise_for_status()
        return response.json()["rows"]


def state(row: dict) -> str:
    if row["status"] == "completed":
        return "succeeded" if row["result"] == "success" else "failed"
    return "waiting" if row["service"] == Adapter.waiting else "running"


def outcome(run: dict) -> list:
    return [json.loads(run["outcome"])] if "outcome" in run else []
