"""Prefect: the server, and a process that serves the deployments of three flows.

The database is PostgreSQL: on SQLite, the server answers 503 to some of several requests at once.
"""

import json

import requests
from engine import INSTALLED, WORKFLOWS, Engine, Process, Run, free_port
from postgres import Postgres

AUTH = ("admin", "s3cret:with-a-colon")

STATES = {"PAUSED": "waiting", "COMPLETED": "succeeded", "FAILED": "failed", "CRASHED": "failed", "CANCELLED": "failed"}


class Adapter(Engine):
    name = "prefect"
    unknown = "00000000-0000-4000-8000-000000000000"
    unknown_run = "00000000-0000-4000-8000-000000000000"
    starts = r"^POST /api/deployments/[^/]+/create_flow_run$"
    resumes = r"^POST /api/flow_runs/[^/]+/resume$"
    # The run is resumed by a state, which knows no failure.
    can_fail = False

    def __init__(self, directory):
        super().__init__(directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.records = directory / "records"
        self.records.mkdir()
        self.database = self.server = self.worker = None
        # The member `event` of each run's payload, by the run's id: it can't change.
        self.events = {}
        auth = ":".join(AUTH)
        self.environment = {
            "PREFECT_HOME": str(directory / "home"),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_API_AUTH_STRING": auth,
            "PREFECT_API_AUTH_STRING": auth,
            # Prefect counts characters outside of ASCII as six or twelve bytes.
            "PREFECT_SERVER_API_MAX_PARAMETER_SIZE": "1600000",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "RECORDS": str(self.records),
        }

    def start(self):
        self.database = Postgres()
        self.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"postgresql+asyncpg://{self.database.address}"
        self.restart()
        flows = ("record", "wait", "wait-slowly")
        self.workflow, self.waiting, self.slow = (self.worker.wait_for(lambda flow=flow: self.deployment(flow)) for flow in flows)

    def stop(self):
        for process in (self.worker, self.server, self.database):
            if process:
                process.stop()

    def kill(self):
        self.server.kill()

    def restart(self):
        prefect = INSTALLED / "prefect/bin/prefect"
        command = [prefect, "server", "start", "--host", "127.0.0.1", "--port", self.port, "--no-ui"]
        self.server = Process(command, self.directory / "server.log", env=self.environment)
        self.server.wait_for(lambda: requests.get(f"{self.url}/api/health", auth=AUTH, timeout=10).ok)
        self.serve()

    def serve(self):
        """Starts the process that serves the deployments, unless it runs. It gives up if the server is away for long."""
        if self.worker is None or self.worker.process.poll() is not None:
            command = [INSTALLED / "prefect/bin/python", WORKFLOWS / "prefect_flows.py"]
            self.worker = Process(command, self.directory / "worker.log", env=self.environment)

    def deployment(self, flow: str) -> str | None:
        """The id of a flow's deployment once it is served."""
        response = requests.get(f"{self.url}/api/deployments/name/{flow}/tests", auth=AUTH, timeout=30)
        served = response.ok and response.json()["status"] == "READY"
        return response.json()["id"] if served else None

    def variables(self) -> dict:
        settings = {"engine_wait_ms": 8000, "engine_timeout_ms": 9000}
        return {"engine": self.name, "engine_token": ":".join(AUTH), "settings": settings}

    def runs(self, event: str) -> list[Run]:
        self.serve()
        for run in self.new_runs():
            data = json.loads(run["parameters"]["data"])
            self.events[run["id"]] = data.get("event") if isinstance(data, dict) else None
        return [self.run(run) for run, its in self.events.items() if its == event]

    def new_runs(self) -> list[dict]:
        """All runs that `events` doesn't have."""
        runs, page = [], None
        while page is None or page:
            known = [*self.events, *(run["id"] for run in runs)]
            page = self.post("/flow_runs/filter", {"flow_runs": {"id": {"not_any_": known}}, "limit": 50})
            runs += page
        return runs

    def run(self, run: str) -> Run:
        response = requests.get(f"{self.url}/api/flow_runs/{run}", auth=AUTH, timeout=30)
        response.raise_for_status()
        state = STATES.get(response.json()["state"]["type"], "running")
        return Run(run, state, self.recorded(run, "input"), self.recorded(run, "outcome") or [])

    def recorded(self, run: str, name: str):
        file = self.records / f"{run}.{name}"
        return json.loads(file.read_text()) if file.exists() else None

    def post(self, path: str, body) -> list:
        response = requests.post(f"{self.url}/api{path}", json=body, auth=AUTH, timeout=30)
        response.raise_for_status()
        return response.json()

    def payload(self, run: Run) -> bytes:
        return run.input["data"].encode()
