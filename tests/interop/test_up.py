"""`cargo xtask up`, run without a terminal. `cargo xtask test` builds its dependencies beforehand, so `up` runs
with `--release`.

The environment variable SLUICE_UP_ENGINES names the real engines that are tried, separated by commas.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
import requests
from conftest import ROOT, free_port

XTASK = os.environ.get("SLUICE_XTASK", str(ROOT / "target/quick/xtask"))
HOST = os.environ.get("SLUICE_HOST_BIN", str(ROOT / "target/debug/sluice-host"))

# The one that is installed and started fastest, if the environment doesn't name others.
ENGINES = os.environ.get("SLUICE_UP_ENGINES", "temporal").split(",")

# A replacement for Spin. Like Spin, it writes the component's output to stderr and runs the trigger in a child process.
SPIN = f"""#!/bin/sh
if [ "$1" = --version ]; then echo "spin 3.4.0 (abcdef 2025-09-01)"; exit; fi
shift
{HOST} "$@" >&2 &
wait
"""


def eventually(check):
    for _ in range(1200):
        if found := check():
            return found
        time.sleep(0.05)
    pytest.fail("the condition wasn't met within a minute")


def descendants(pid: int) -> list[int]:
    try:
        listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(child) for child in listed] + [other for child in listed for other in descendants(int(child))]


def is_alive(pid: int) -> bool:
    try:
        # An exited process remains a zombie until its parent waits for it.
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Up:
    """A running `cargo xtask up`, whose output is in files."""

    def __init__(self, directory: pathlib.Path, process, port: int):
        self.directory, self.process, self.url = directory, process, f"http://127.0.0.1:{port}"

    def out(self) -> str:
        return (self.directory / "out").read_text()

    def err(self) -> str:
        return (self.directory / "err").read_text()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.err()
        return "Ctrl-C stops Sluice." in self.err()

    def deliver(self) -> requests.Response:
        return requests.post(f"{self.url}/api/v2/webhook?ref=build", json={}, timeout=30)

    def exit_code(self) -> int:
        """Waits for the process and all its descendants, and returns the exit code."""
        self.process.wait(timeout=60)
        eventually(lambda: not any(map(is_alive, self.descendants)))
        return self.process.returncode


@contextlib.contextmanager
def up(directory: pathlib.Path, *flags: str, path=None):
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPIN_VARIABLE_")}
    if path:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    command = [XTASK, "up", "--release", "--port", str(port), "--state-dir", str(directory / "state"), *flags]
    with (directory / "out").open("w") as out, (directory / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
    running = Up(directory, process, port)
    try:
        # If this test runs on its own, `up` may have to build first.
        for _ in range(10):
            with contextlib.suppress(pytest.fail.Exception):
                eventually(running.is_ready)
                break
        running.descendants = descendants(process.pid)
        assert running.descendants, running.err()
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@pytest.fixture
def directory(data):
    with data() as directory:
        yield pathlib.Path(directory)


def run_up(*flags: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `up` with flags that it rejects."""
    command, environment = [XTASK, "up", "--host", *flags], os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def try_out(running: Up) -> list[str]:
    """Runs the three commands that `up` shows, and the last one again. Returns their outcomes."""
    lines = [line for line in running.err().splitlines() if line.startswith("curl ")]
    assert len(lines) == 3, running.err()
    outcomes = []
    for line in [*lines, lines[2]]:
        result = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        outcome = re.search(r"^sluice-outcome: (\w+)", result.stdout, re.MULTILINE)
        assert outcome, f"{line}\n{result.stdout}"
        outcomes.append(outcome[1])
    return outcomes


def test_errors_are_reported_before_anything_is_built():
    with socket.socket() as holds:
        holds.bind(("127.0.0.1", 0))
        holds.listen()
        port = holds.getsockname()[1]
        taken = run_up("--port", str(port))
    message = rf"error: port {port} is in use( by .+)?: stop the program that uses it, or pass --port \d+\n"
    assert taken.returncode == 1 and re.fullmatch(message, taken.stderr), taken.stderr
    misspelt = run_up("--port", "0", "--var", "engine_ulr=x")
    assert misspelt.stderr == "error: unknown variable engine_ulr (did you mean engine_url?); spin.toml lists all variables\n"
    assert misspelt.returncode == 1
    password = run_up("--port", "0", "--engine", "http://me:s3cret@engine/api")
    assert password.returncode == 2 and "must not carry a user or password" in password.stderr
    unknown = run_up("--port", "0", "--engine", "temporl")
    names = "must be temporal, airflow, restate, prefect, or the URL of your engine"
    assert unknown.returncode == 2 and names in unknown.stderr, unknown.stderr
    twice = run_up("--port", "0", "--engine", "temporal", "--var", "engine=flow")
    assert twice.stderr == "error: --engine temporal sets engine: give only one of them\n"
    # Without a path, no program is found that could install one.
    for engine, program in (("restate", "npm"), ("prefect", "python3")):
        missing = run_up("--port", "0", "--engine", engine, PATH="/nowhere")
        assert missing.stderr == f"error: {program} is missing; on Debian, `apt-get install {program}`\n"


def test_up_reports_each_error_once_and_prints_commands_to_try(directory):
    with contextlib.ExitStack() as stack:
        holds = stack.enter_context(socket.socket())
        # Port 7701 is in use, either by this socket or by another process.
        with contextlib.suppress(OSError):
            holds.bind(("127.0.0.1", 7701))
            holds.listen()
        running = stack.enter_context(
            up(directory, "--host", "--var", "settings={\"public_url\":\"nonsense\"}", "--var", "operator_token=two words")
        )
        assert try_out(running) == ["delivered", "delivered", "delivered", "duplicate"]
        requests.post(f"{running.url}/api/v2/webhook?ref=build", json=[], timeout=30)
        eventually(lambda: running.out().count("\n") == 6)
        running.process.send_signal(signal.SIGINT)
        assert running.exit_code() == 0

    err = running.err()
    for problem in ("settings +has an error: `/public_url` must be ", "operator_token +must be "):
        assert len(re.findall(rf"^  {problem}", err, re.MULTILINE)) == 1, f"{problem}: {err}"
    assert len(re.findall("^error:", err, re.MULTILINE)) == 1, err
    assert re.search(r"^warning: port 7701 is in use, so the stand-in engine listens on port \d+$", err, re.MULTILINE), err
    head, *log = running.out().splitlines()
    assert head.split() == ["UTC", "request", "outcome", "status", "delivery", "ms"]
    row = r"\d\d:\d\d:\d\d  POST {} +{} +{} +[0-9A-Z]{{26}} +[\d.]+"
    rows = [("webhook", "delivered"), ("callback", "delivered"), ("event", "delivered"), ("event", "duplicate")]
    for line, (request, outcome) in zip(log, rows):
        assert re.fullmatch(row.format(request, outcome, 200), line), line
    assert re.fullmatch(r"\d\d:\d\d:\d\d  POST webhook +refused +400 +[\d.]+  invalid-body", log[4]), log[4]
    assert "\x1b" not in err + running.out(), "the output must not be coloured without a terminal"


def test_unreachable_engine_is_a_warning(directory):
    engine = f"http://127.0.0.1:{free_port()}"
    with up(directory, "--host", "--raw", "--engine", engine) as running:
        assert f"warning: no engine at {engine}: connection refused" in running.err()
        assert running.err().count("error:") == 0 and "Stand-in" not in running.err()
        assert running.deliver().status_code == 202
        [line] = eventually(lambda: running.out().splitlines())
        assert json.loads(line)["outcome"] == "pending", "--raw prints the component's log line unchanged"
        running.process.send_signal(signal.SIGTERM)
        assert running.exit_code() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_real_engine_is_started_and_ended(directory, engine):
    with up(directory, "--host", "--engine", engine, "--var", "operator_token=op3rator") as running:
        assert running.err().count("error:") == 0 and "Stand-in" not in running.err(), running.err()
        page = re.search(r"'s page +(http://127\.0\.0\.1:\d+\S*)", running.err())[1]
        assert requests.get(page, timeout=30).headers["content-type"].startswith("text/html")
        *first, last = try_out(running)
        # An engine may take longer than `engine_wait_ms` on a busy machine, and a task may not wait yet. Drains deliver then.
        assert set(first) <= {"delivered", "pending"} and last == "duplicate", (first, last)
        eventually(lambda: drained(running) == [])
        run = re.search(r"resumes the run (\S+), which waits", running.err())[1]
        callback = operator(running, "GET", f"callbacks/{run}?topic=approval")
        assert (callback["status"], callback["state"]) == ("succeeded", "delivered")
        assert operator(running, "GET", "deliveries?state=dead")["deliveries"] == []
        console = requests.get(f"{running.url}/console/callbacks?run={run}", auth=("me", "op3rator"), timeout=30).text
        assert f'href="{page.removesuffix("/ui")}' in console, console
        running.process.send_signal(signal.SIGINT)
        assert running.exit_code() == 0


def drained(running: Up) -> list:
    """The deliveries that are pending after a drain."""
    operator(running, "POST", "deliveries/drain")
    return operator(running, "GET", "deliveries?state=pending")["deliveries"]


def operator(running: Up, method: str, path: str) -> dict:
    """The response to a request with the operator's token."""
    headers = {"authorization": "Bearer op3rator"}
    response = requests.request(method, f"{running.url}/api/v2/{path}", headers=headers, timeout=60)
    response.raise_for_status()
    return response.json()


@pytest.mark.parametrize("cause", ["interrupt", "spin dies", "the stand-in dies"])
def test_all_processes_end_together_on_spin(directory, cause):
    (directory / "spin").write_text(SPIN)
    (directory / "spin").chmod(0o755)
    with up(directory, path=directory) as running:
        assert running.err().startswith("Sluice 0.2.0 on Spin 3.4.0\n")
        assert running.deliver().headers["sluice-outcome"] == "delivered"
        eventually(lambda: "POST webhook" in running.out())
        names = {pid: pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in running.descendants}
        assert sorted(names.values()) == ["sluice-host", "spin", "stand-in"]
        match cause:
            case "interrupt":
                running.process.send_signal(signal.SIGINT)
                assert running.exit_code() == 0
            case "spin dies":
                os.kill(next(pid for pid, name in names.items() if name == "spin"), signal.SIGKILL)
                assert running.exit_code() == 1
                assert "error: spin ended: signal: 9" in running.err()
            case "the stand-in dies":
                os.kill(next(pid for pid, name in names.items() if name == "stand-in"), signal.SIGKILL)
                assert running.exit_code() == 1
                assert "error: the stand-in engine ended: signal: 9" in running.err()
