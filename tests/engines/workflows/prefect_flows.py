"""Three flows, each with a deployment that this process serves.

They write what they saw to the directory `RECORDS`: `<run>.input`, and `<run>.outcome` for the answer.
"""

import json
import os
import pathlib
import time

from prefect import flow, serve, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import ConfigDict, Json


class Answer(RunInput):
    """The payload of the callback. A flow of one's own names the members that it needs."""

    model_config = ConfigDict(extra="allow")


class SlowAnswer(Answer):
    """An answer whose schema is saved late: Prefect pauses the run first."""

    @classmethod
    def save(cls, *arguments, **named):
        time.sleep(3)
        super().save(*arguments, **named)


def write(name: str, value):
    file = pathlib.Path(os.environ["RECORDS"], f"{flow_run.id}.{name}")
    file.with_suffix(".part").write_text(json.dumps(value))
    file.with_suffix(".part").rename(file)


@flow
def record(data: str, event: Json | None = None):
    """Records its input and ends. `data` is the text of the payload; as `Json`, it would be parsed."""
    write("input", {"data": data, "event": event})


@flow
def wait(data: Json, event: Json | None = None):
    """Records its input, waits for the topic `approval`, and records what came.

    A suspended run holds no process: once it is resumed, it begins from the start, and `suspend_flow_run` returns.
    """
    wait_for(Answer, data, event)


@flow
def wait_slowly(data: Json, event: Json | None = None):
    """Waits like `wait`, but is paused for a while before it can be resumed."""
    wait_for(SlowAnswer, data, event)


def wait_for(form: type[Answer], data, event):
    write("input", {"data": json.dumps(data), "event": event})
    answer = suspend_flow_run(wait_for_input=form, key="approval", timeout=600)
    write("outcome", [{"status": "succeeded", "data": answer.model_dump() or None}])


if __name__ == "__main__":
    deployments = [flow.to_deployment("tests") for flow in (record, wait, wait_slowly)]
    serve(*deployments, limit=4, query_seconds=1, print_starting_message=False)
