"""Tests of Restate alone: what handlers see, private workflows, callbacks for runs that don't exist."""

import json

import pytest
import requests
from engine import TOPIC
from sluice import has, new_event, running, wait_for_runs

pytestmark = pytest.mark.only("restate")


def test_handlers_see_the_headers_of_the_request(engine, session_proxy):
    """The token too, as the page says: it belongs into `engine_token` only where Restate asks for one."""
    event = new_event()
    with running(engine, session_proxy.url, engine_token="s3cret") as sluice:
        run = has(sluice.event("recorder", {"event": event}, event), 200).json()["id"]
    wait_for_runs(engine, event)
    key = run.partition("!")[2]
    [kept] = engine.sql(f"SELECT value_utf8 AS names FROM state WHERE service_key = '{key}' AND key = 'headers'")
    assert "authorization" in json.loads(kept["names"])


def test_a_private_workflow_is_rejected(engine, sluice):
    event = new_event()
    response = has(sluice.event("internal", {"event": event}, event), 400)
    assert response.headers["sluice-outcome"] == "rejected"
    assert engine.runs(event) == [] and sluice.deliveries("pending") == []


def test_a_callback_for_a_run_that_does_not_exist_yet(engine, sluice):
    """Restate would resolve its promise at once. Sluice keeps it until the run has been started, here by somebody else."""
    event = new_event()
    has(sluice.callback(f"approver!{event}", TOPIC, data={"n": 1}), 202)
    sluice.drain()
    assert engine.sql(f"SELECT key FROM sys_promise WHERE service_key = '{event}'") == []
    url = f"{engine.url}/approver/{event}/run/send"
    has(requests.post(url, json={"data": {"event": event}}, timeout=30), 202)
    sluice.settle()
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"n": 1}}]


def test_a_callback_for_an_unknown_run_leaves_nothing_behind(engine, sluice):
    has(sluice.callback(engine.unknown_run, TOPIC, data={"n": 1}), 202)
    sluice.settle()
    assert len(sluice.dead()) == 1
    key = engine.unknown_run.partition("!")[2]
    assert engine.sql(f"SELECT id FROM sys_invocation WHERE target_service_key = '{key}'") == []


def test_a_callback_that_is_sent_again_runs_its_handler_once(engine, sluice, proxy, waiting):
    _, run = waiting
    proxy.fail("lose-answer", engine.resumes)
    has(sluice.callback(run.id, TOPIC, data={"n": 1}), 200, 202)
    sluice.settle()
    assert [request.status for request in proxy.seen(engine.resumes)] == [202, 202]
    key = run.id.partition("!")[2]
    query = f"SELECT id FROM sys_invocation WHERE target_service_key = '{key}' AND target_handler_name = '{TOPIC}'"
    assert len(engine.sql(query)) == 1


def test_a_topic_without_a_handler(engine, sluice, waiting):
    """It is rejected, and the run still waits."""
    event, run = waiting
    has(sluice.callback(run.id, "nonsense", data={"n": 1}), 404)
    has(sluice.callback(run.id, TOPIC, data={"n": 2}), 200)
    sluice.settle()
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"n": 2}}]


@pytest.mark.parametrize("ref", ["approver", "approver!", "!x", "approver!x!y"])
def test_a_reference_has_two_names(engine, sluice, ref):
    has(sluice.callback(ref, TOPIC, data={"n": 1}), 400)


def test_a_payload_as_large_as_sluice_takes(engine, session_proxy):
    event = new_event()
    payload = json.dumps({"event": event, "text": "x" * 10_400_000}).encode()
    with running(engine, session_proxy.url, settings={"max_body_bytes": 10 * 1024 * 1024}) as sluice:
        has(sluice.event("recorder", payload), 200, 202)
        sluice.settle()
    [run] = wait_for_runs(engine, event)
    assert engine.payload(run) == payload
