"""Tests of Prefect alone: a run that is paused, and can't be resumed yet."""

import pytest
from engine import TOPIC, eventually
from sluice import has, new_event, wait_for_runs

pytestmark = pytest.mark.only("prefect")


def test_a_callback_before_the_schema_of_the_input_is_saved(engine, sluice, proxy):
    """Prefect pauses the run, and saves the schema after that. It rejects each input that comes in between."""
    event = new_event()
    run = has(sluice.event(engine.slow, {"event": event}, event), 200).json()["id"]
    eventually(lambda: [run for run in engine.runs(event) if run.state == "waiting"])
    has(sluice.callback(run, TOPIC, data={"early": True}), 200, 202)
    sluice.settle()
    [ended] = wait_for_runs(engine, event)
    assert ended.outcome == [{"status": "succeeded", "data": {"early": True}}]
    first, *_, last = [request.status for request in proxy.seen(engine.resumes)]
    assert (first, last) == (200, 201), "the first one was rejected"
