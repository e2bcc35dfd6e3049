"""The interface of an engine under test, and what the adapters share."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Where the engines are installed: one virtual environment, or directory of npm, for each name.
INSTALLED = pathlib.Path(os.environ.get("SLUICE_ENGINES_DIR", str(ROOT / "target/engines")))

WORKFLOWS = pathlib.Path(__file__).parent / "workflows"

# The topic for which the workflow `Engine.waiting` waits.
TOPIC = "approval"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as the engine's own API shows it."""

    # The reference of the run, as in `id` of Sluice's response and `ref` of a callback.
    id: str
    # `running`, `waiting` (for the topic), `succeeded`, `failed`, or a word of the engine's adapter.
    state: str
    # What the workflow saw: its input as bytes, where the engine gives it these, else as parsed JSON.
    input: object
    # What the workflow got by callbacks, in order: `{"status": …, "data": …}` each.
    outcome: list


class Engine:
    """One real engine on free ports of the loopback interface. Its data are in `directory`."""

    # Also the name of the profile.
    name: str
    # Reference of a workflow that records its input and ends.
    workflow: str
    # Reference of a workflow that records its input, waits for `TOPIC`, records what came, and ends.
    waiting: str
    # Reference of a workflow that the engine doesn't have. `None`: the engine takes any.
    unknown = None
    # A run's reference that the engine doesn't have, in its form.
    unknown_run = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    # The requests by which a profile starts a run, and resumes one: regular expressions for `METHOD path`.
    starts: str
    resumes: str
    # Whether a repeated start doesn't start a second run. Without this, a start after doubt is sent at least once.
    starts_once = True
    # Whether the profile has callbacks. If not, they are refused with a 501.
    callbacks = True
    # Whether a callback may have the status `failed`.
    can_fail = True
    # `limits.max_body_bytes` of the profile: a larger payload is refused before anything is sent.
    largest = 10 * 1024 * 1024
    # Base URL of the engine itself, without the proxy.
    url: str

    def __init__(self, directory: pathlib.Path):
        self.directory = directory

    def start(self):
        """Starts the engine and a worker, and returns when both take work."""
        raise NotImplementedError

    def stop(self):
        """Ends all processes that `start` and `restart` have started."""
        raise NotImplementedError

    def kill(self):
        """Kills the server (SIGKILL), and returns when it is gone."""
        raise NotImplementedError

    def restart(self):
        """Starts the killed server on the same data and port, and returns when it takes requests."""
        raise NotImplementedError

    def variables(self) -> dict:
        """Variables of Sluice for this engine, without `engine_url`. `settings` is an object."""
        raise NotImplementedError

    def runs(self, event: str) -> list[Run]:
        """The runs whose input's data has `event` as its member `event`, by the engine's own list of runs."""
        raise NotImplementedError

    def payload(self, run: Run) -> bytes:
        """The payload in a run's input, as the workflow saw it. An engine that hands over parsed JSON overrides this."""
        return member(run.input, "data")

    def makes_of(self, payload: bytes) -> bytes:
        """What the engine makes of a payload until the workflow sees it. The page of its profile says the same."""
        return payload

    def makes_of_answer(self, payload: bytes) -> bytes:
        """What the engine makes of a callback's payload."""
        return self.makes_of(payload)


class StandIn(Engine):
    """A stand-in for an engine: a server in Python, which keeps its data in files."""

    def command(self) -> list:
        """The script of the server, and its arguments. It listens on `self.port`."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether the server answers."""
        raise NotImplementedError

    def start(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.restart()

    def restart(self):
        self.server = Process([sys.executable, *self.command()], self.directory / "server.log")
        self.server.wait_for(self.is_ready)

    def stop(self):
        if hasattr(self, "server"):
            self.server.stop()

    def kill(self):
        self.server.kill()


def member(text: bytes, name: str) -> bytes:
    """The raw text of a member of a JSON object, of the last one with this name."""
    decoder, text, found = json.JSONDecoder(), text.decode(), None
    place = skip_blanks(text, skip_blanks(text, 0) + 1)
    while text[place] != "}":
        key, end = decoder.raw_decode(text, place)
        # The colon, and what follows it.
        start = skip_blanks(text, skip_blanks(text, end) + 1)
        _, end = decoder.raw_decode(text, start)
        found = text[start:end] if key == name else found
        place = skip_blanks(text, end)
        if text[place] == ",":
            place = skip_blanks(text, place + 1)
    assert found is not None, f"no member {name} in {text[:1000]}"
    return found.encode()


def skip_blanks(text: str, place: int) -> int:
    while text[place] in " \t\r\n":
        place += 1
    return place


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(check, seconds=60, message="the condition wasn't met"):
    """Waits until `check` returns something true, and returns that. Errors of connections count as not yet."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if found := check():
                return found
        if time.monotonic() > end:
            pytest.fail(f"{message} within {seconds} s")
        time.sleep(0.1)


class Process:
    """A process in a session of its own. Its output goes to a file."""

    def __init__(self, command: list, log: pathlib.Path, env=None, cwd=None):
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | (env or {}),
                cwd=cwd,
                start_new_session=True,
            )

    def wait_for(self, check, seconds=120):
        """Waits until `check` returns something true while the process lives."""

        def lives():
            code = self.process.poll()
            assert code is None, f"{self.log.name}: exited with {code}\n{self.tail()}"
            return check()

        return eventually(lives, seconds, f"{self.log.name}: not ready")

    def tail(self) -> str:
        return self.log.read_bytes()[-4000:].decode(errors="replace")

    def kill(self):
        """Kills the process and its children."""
        self.signal(signal.SIGKILL)

    def stop(self):
        """Ends the process and its children; kills them after 20 s."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        # Children may outlive their parent.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)
