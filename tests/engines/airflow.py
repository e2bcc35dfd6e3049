"""Airflow: the API server and the scheduler with the LocalExecutor, and two DAGs that were parsed once.

The database is PostgreSQL: on SQLite, the scheduler exits when it meets a locked database.
"""

import json
import os
import shutil

import requests
from engine import INSTALLED, WORKFLOWS, Engine, Process, Run, free_port
from postgres import Postgres

USER, PASSWORD = "sluice", "s3cret:with-a-colon"


class Adapter(Engine):
    name = "airflow"
    workflow = "record"
    waiting = "wait"
    unknown = "no-such-dag"
    unknown_run = "wait!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    starts = r"^POST /api/v2/dags/[^/]+/dagRuns$"
    resumes = r"^PATCH /api/v2/dags/.+/hitlDetails$"

    def __init__(self, directory):
        super().__init__(directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home, self.records, self.dags = (directory / name for name in ("home", "records", "dags"))
        self.database = self.server = self.scheduler = self.token = None
        # The DAG, the run and the member `event` of the payload of each run, in the order of the engine's list.
        self.known = []
        self.environment = {
            "AIRFLOW_HOME": self.home,
            "PATH": f"{INSTALLED / 'airflow/bin'}:{os.environ['PATH']}",
            "RECORDS": self.records,
            "AIRFLOW__CORE__DAGS_FOLDER": self.dags,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.home / "passwords.json",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.port,
            "AIRFLOW__API__WORKERS": "1",
            # Tokens outlive a restart of the server.
            "AIRFLOW__API_AUTH__JWT_SECRET": "0123456789abcdef" * 4,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            # A task's process asks the API server, which may just be down for a restart.
            "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "30",
            "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "5",
            # How late the executor may notice that a task's process has ended, in seconds.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        self.environment = {name: str(value) for name, value in self.environment.items()}

    def start(self):
        for directory in (self.home, self.records, self.dags):
            directory.mkdir()
        shutil.copy(WORKFLOWS / "airflow_dags.py", self.dags)
        (self.home / "passwords.json").write_text(json.dumps({USER: PASSWORD}))
        self.database = Postgres()
        self.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"postgresql+psycopg2://{self.database.address}"
        self.finish("db", "migrate")
        self.finish("dags", "reserialize")
        self.restart()
        self.scheduler = self.run_command("scheduler")

    def finish(self, *command: str):
        """Runs a command of Airflow to its end."""
        process = self.run_command(*command)
        assert process.process.wait(timeout=180) == 0, process.tail()

    def run_command(self, *command: str) -> Process:
        log = self.directory / f"{'-'.join(command)}.log"
        return Process([INSTALLED / "airflow/bin/airflow", *command], log, env=self.environment)

    def stop(self):
        # An orderly end of the server takes ten seconds. The scheduler has to end its server of logs.
        if self.server:
            self.server.kill()
        if self.scheduler:
            self.scheduler.stop()
        if self.database:
            self.database.stop()

    def kill(self):
        self.server.kill()

    def restart(self):
        self.server = self.run_command("api-server")
        # The first request that needs the database takes seconds.
        self.server.wait_for(lambda: self.get("/dags")["total_entries"] == 2)

    def variables(self) -> dict:
        # Airflow takes its time on a busy machine, and a task that waits is settled soon, see `AIRFLOW__WORKERS__…` above.
        settings = {"engine_wait_ms": 8000, "engine_timeout_ms": 9000, "engine": {"settle_ms": "4000"}}
        return {"engine": self.name, "engine_token": f"{USER}:{PASSWORD}", "settings": settings}

    def runs(self, event: str) -> list[Run]:
        while page := self.get("/dags/~/dagRuns", order_by="id", limit=100, offset=len(self.known))["dag_runs"]:
            for run in page:
                data = run["conf"].get("data")
                self.known.append((run["dag_id"], run["dag_run_id"], data.get("event") if isinstance(data, dict) else None))
        return [self.run(dag, run) for dag, run, its in self.known if its == event]

    def run(self, dag: str, run: str) -> Run:
        path = f"/dags/{dag}/dagRuns/{run}"
        state = {"success": "succeeded", "failed": "failed"}.get(self.get(path)["state"], "running")
        if state == "running" and dag == self.waiting and self.waits(run, self.get(f"{path}/taskInstances/approval")):
            state = "waiting"
        return Run(f"{dag}!{run}", state, self.recorded(run, "input"), self.recorded(run, "outcome") or [])

    def waits(self, run: str, task: dict) -> bool:
        """Whether the task waits and the scheduler knows that its process has ended. See "An answer that comes at once"
        in the profile's page: until then, the scheduler may take the answered task for one that was killed."""
        event = f"Received executor event with state success for task instance TaskInstanceKey(dag_id='wait', task_id='approval', run_id='{run}'"
        return task["state"] == "awaiting_input" and event in self.scheduler.log.read_text(errors="replace")

    def recorded(self, run: str, name: str):
        file = self.records / f"{run}.{name}"
        return json.loads(file.read_text()) if file.exists() else None

    def get(self, path: str, **query) -> dict:
        response = requests.get(f"{self.url}/api/v2{path}", params=query, headers=self.headers(), timeout=30)
        response.raise_for_status()
        return response.json()

    def headers(self) -> dict:
        if self.token is None:
            response = requests.post(f"{self.url}/auth/token", json={"username": USER, "password": PASSWORD}, timeout=30)
            response.raise_for_status()
            self.token = response.json()["access_token"]
        return {"authorization": f"Bearer {self.token}"}

    def payload(self, run: Run) -> bytes:
        return json.dumps(run.input["data"]).encode()

    def makes_of(self, payload: bytes) -> bytes:
        """Python parses and writes the JSON, and PostgreSQL keeps it as `jsonb`."""
        return json.dumps(jsonb(json.loads(payload))).encode()

    def makes_of_answer(self, payload: bytes) -> bytes:
        return payload


def jsonb(value):
    """A value that PostgreSQL has kept: members are ordered by length and bytes, numbers have no exponent and no negative zero."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return {name: jsonb(value[name]) for name in names}
    if isinstance(value, list):
        return [jsonb(element) for element in value]
    if isinstance(value, float):
        return int(value) if "e+" in repr(value) else value + 0.0
    return value
