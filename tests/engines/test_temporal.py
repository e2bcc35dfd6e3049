"""Tests of Temporal alone: runs that continue as new, task queues, namespaces, and workflows that somebody else has started."""

import base64

import pytest
import requests
from engine import TOPIC, member
from sluice import has, new_event, running, wait_for_runs
from temporal import QUEUE

pytestmark = pytest.mark.only("temporal")


def test_a_start_is_known_after_its_run_has_continued_as_new(engine, sluice, proxy):
    """The id now belongs to another run, with another request id: the repeat is a 409, and the id is looked up."""
    event = new_event()
    proxy.fail("lose-answer", engine.starts)
    has(sluice.event("Again", {"event": event}, event), 202)
    sluice.settle()
    assert sluice.dead() == []
    assert [request.status for request in proxy.seen(engine.starts)] == [200, 409]
    assert [request.status for request in proxy.seen("^GET .*/workflows/")] == [200]
    again = has(sluice.event("Again", {"event": event}, event), 200)
    runs = engine.runs(event)
    assert sorted((run.id, run.state) for run in runs) == [(again.json()["id"], "continued"), (again.json()["id"], "succeeded")]


def test_a_signal_that_is_sent_again_is_recorded_once(engine, sluice, proxy, waiting):
    """The run stays open, since its workflow doesn't know this topic: a second signal would be recorded."""
    event, run = waiting
    proxy.fail("lose-answer", engine.resumes)
    has(sluice.callback(run.id, "reminder", data={"n": 1}), 202)
    sluice.settle()
    assert [request.status for request in proxy.seen(engine.resumes)] == [200, 200]
    [signal] = engine.events_of(run.id, "SIGNALED")
    assert signal["workflowExecutionSignaledEventAttributes"]["signalName"] == "reminder"
    has(sluice.callback(run.id, TOPIC, data={"n": 2}), 200)
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"n": 2}}]


def test_a_reference_may_name_the_task_queue(engine, sluice):
    event, elsewhere = new_event(), new_event()
    has(sluice.event(f"{QUEUE}!Record", {"event": event}), 200)
    wait_for_runs(engine, event)
    run = has(sluice.event("nobody!Record", {"event": elsewhere}), 200).json()["id"]
    shown = engine.get(f"/workflows/{run}")["workflowExecutionInfo"]
    assert (shown["taskQueue"], shown["status"]) == ("nobody", "WORKFLOW_EXECUTION_STATUS_RUNNING")
    requests.post(f"{engine.api}/workflows/{run}/terminate", json={}, timeout=30).raise_for_status()
    assert 400 <= sluice.event("a!b!Record", {"event": event}).status_code < 500


def test_an_unknown_namespace_is_an_error_of_the_configuration(engine, session_proxy):
    """Deliveries are kept, since they would be accepted with the right namespace."""
    settings = {"engine": {"task_queue": QUEUE, "namespace": "nowhere"}}
    with running(engine, session_proxy.url, settings=settings) as sluice:
        event = new_event()
        has(sluice.event("Record", {"event": event}), 202)
        [pending] = sluice.deliveries("pending")
        assert "404" in pending["last_failure"], pending
        assert sluice.readyz()["status"] == "degraded"
    assert engine.runs(event) == []


def test_the_largest_payload_arrives(engine, session_proxy):
    """No worker polls this task queue: the result of `Record` would be too large."""
    with running(engine, session_proxy.url, settings={"max_body_bytes": engine.largest}) as sluice:
        event = new_event()
        sent = (b'{"event":"%s","a":"' % event.encode()).ljust(engine.largest - 2, b"a") + b'"}'
        run = has(sluice.event("nobody!Record", sent), 200).json()["id"]
        has(sluice.event("nobody!Record", sent + b" "), 413)
    [execution] = [shown["execution"] for shown in engine.all() if engine.event(shown["execution"]) == event]
    started = engine.history(execution, maximumPageSize=1, noPayloadShorthand="")
    [payload] = started["workflowExecutionStartedEventAttributes"]["input"]["payloads"]
    assert member(base64.b64decode(payload["data"]), "data") == sent
    requests.post(f"{engine.api}/workflows/{run}/terminate", json={}, timeout=30).raise_for_status()


def test_a_workflow_that_somebody_else_has_started_gets_callbacks(engine, sluice):
    event = new_event()
    data = base64.b64encode(b'{"data":{"event":"%s"}}' % event.encode()).decode()
    start = {
        "workflowType": {"name": "Wait"},
        "taskQueue": {"name": QUEUE},
        "input": {"payloads": [{"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": data}]},
    }
    requests.post(f"{engine.api}/workflows/order {event}", json=start, timeout=30).raise_for_status()
    has(sluice.callback(f"order {event}", TOPIC, data={"n": 1}), 200)
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"n": 1}}]
