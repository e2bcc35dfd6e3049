"""A Temporal worker: `Record` ends at once, `Wait` waits for the signal `approval`, and `Again` continues as new.

Usage: python temporal_worker.py ADDRESS TASK_QUEUE
"""

import asyncio
import base64
import sys

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


def text(value: RawValue) -> str:
    """The bytes of a payload as they came, in base64."""
    return base64.b64encode(value.payload.data).decode()


@workflow.defn
class Record:
    """Its result, and the query `seen`, have the bytes of its input."""

    @workflow.init
    def __init__(self, data: RawValue):
        self.state = {"input": text(data), "outcome": []}

    @workflow.run
    async def run(self, data: RawValue) -> dict:
        return self.state

    @workflow.query
    def seen(self) -> dict:
        return self.state


@workflow.defn
class Wait:
    """Like `Record`, but it waits for the signal `approval`. `outcome` has the signals that have arrived by then, in order."""

    @workflow.init
    def __init__(self, data: RawValue):
        self.state = {"input": text(data), "outcome": []}

    @workflow.run
    async def run(self, data: RawValue) -> dict:
        await workflow.wait_condition(lambda: self.state["outcome"])
        return self.state

    @workflow.signal
    def approval(self, resolution: RawValue):
        self.state["outcome"].append(text(resolution))

    @workflow.query
    def seen(self) -> dict:
        return self.state


@workflow.defn
class Again:
    """Continues as new once, with the same input, and ends."""

    @workflow.run
    async def run(self, data: RawValue) -> dict:
        if workflow.info().continued_run_id is None:
            workflow.continue_as_new(data)
        return {"input": text(data), "outcome": []}


async def main(address: str, queue: str):
    client = await Client.connect(address)
    # Without the sandbox, a worker starts faster. The workflows are deterministic as they are.
    runner = UnsandboxedWorkflowRunner()
    await Worker(client, task_queue=queue, workflows=[Record, Wait, Again], workflow_runner=runner).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
