"""An event or webhook starts one run, which gets its payload."""

import json

import pytest
from conftest import needed
from sluice import has, new_event, running, wait_for_runs


@pytest.mark.parametrize("kind", ["event", "webhook"])
def test_a_delivery_starts_one_run(engine, sluice, kind):
    event = new_event()
    response = has(getattr(sluice, kind)(engine.workflow, {"event": event}), 200)
    answer = response.json()
    [run] = wait_for_runs(engine, event)
    assert (answer["id"], answer["engine"]) == (run.id, engine.name)
    assert answer["workflowRef"] == engine.workflow
    assert response.headers["sluice-outcome"] == "delivered"
    assert json.loads(engine.payload(run)) == {"event": event}


def test_a_repeated_event_gets_the_same_run(engine, sluice, proxy):
    event = new_event()
    first = has(sluice.event(engine.workflow, {"event": event}, event), 200)
    wait_for_runs(engine, event)
    sent = len(proxy.seen(engine.starts))
    again = has(sluice.event(engine.workflow, {"event": event}, event), 200)
    assert again.json()["id"] == first.json()["id"]
    assert (len(engine.runs(event)), len(proxy.seen(engine.starts))) == (1, sent)


def test_a_repeated_webhook_with_a_key_gets_the_same_run(engine, sluice):
    event = new_event()
    first = has(sluice.webhook(engine.workflow, {"event": event}, event), 200)
    again = has(sluice.webhook(engine.workflow, {"event": event}, event), 200)
    assert again.json()["id"] == first.json()["id"]
    wait_for_runs(engine, event)


def test_different_events_start_different_runs(engine, sluice):
    """The payloads are equal: only the ids of the events differ. Webhooks without a key are never the same."""
    event = new_event()
    for _ in range(2):
        has(sluice.event(engine.workflow, {"event": event}), 200)
        has(sluice.webhook(engine.workflow, {"event": event}), 200)
    runs = wait_for_runs(engine, event, count=4)
    assert len({run.id for run in runs}) == 4


def test_an_unknown_workflow_is_rejected(engine, sluice):
    needed(engine, "unknown", "the engine takes the name of any workflow, and its run waits")
    event = new_event()
    response = sluice.event(engine.unknown, {"event": event})
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["sluice-outcome"] == "rejected"
    assert engine.runs(event) == [] and sluice.deliveries("pending") == []


@pytest.mark.usefixtures("starts_once")
def test_the_engine_knows_a_start_that_the_store_has_forgotten(engine, sluice, session_proxy):
    """After the end of the run, an event comes to a Sluice whose store has nothing."""
    event = new_event()
    first = has(sluice.event(engine.workflow, {"event": event}, event), 200)
    wait_for_runs(engine, event)
    with running(engine, session_proxy.url) as other:
        again = has(other.event(engine.workflow, {"event": event}, event), 200)
        assert other.deliveries("pending") == []
    assert again.json()["id"] == first.json()["id"]
    assert len(engine.runs(event)) == 1
