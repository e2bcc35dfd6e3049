"""One callback counts for each topic of a run, whenever and however often it comes."""

import threading

import pytest
from conftest import needed
from engine import TOPIC
from sluice import has, new_event, running, wait_for_runs

pytestmark = pytest.mark.usefixtures("callbacks")


def outcome(engine, sluice, event: str) -> list:
    """The callbacks that the workflow got, once nothing is pending and it has ended."""
    sluice.settle()
    [run] = wait_for_runs(engine, event)
    return run.outcome


def test_a_callback_reaches_the_run(engine, sluice, waiting):
    event, run = waiting
    has(sluice.callback(run.id, TOPIC, data={"by": "Ada"}), 200)
    assert outcome(engine, sluice, event) == [{"status": "succeeded", "data": {"by": "Ada"}}]


def test_a_callback_without_a_payload(engine, sluice, waiting):
    event, run = waiting
    has(sluice.callback(run.id, TOPIC), 200)
    [got] = outcome(engine, sluice, event)
    assert (got["status"], got.get("data")) == ("succeeded", None)


def test_the_first_of_two_callbacks_counts(engine, sluice, proxy, waiting):
    event, run = waiting
    has(sluice.callback(run.id, TOPIC, data={"n": 1}), 200)
    sent = len(proxy.seen(engine.resumes))
    has(sluice.callback(run.id, TOPIC, data={"n": 2}), 409)
    assert outcome(engine, sluice, event) == [{"status": "succeeded", "data": {"n": 1}}]
    has(sluice.callback(run.id, TOPIC, data={"n": 2}), 409)
    assert len(proxy.seen(engine.resumes)) == sent


def test_a_repeated_callback_is_sent_once(engine, sluice, proxy, waiting):
    event, run = waiting
    for _ in range(3):
        has(sluice.callback(run.id, TOPIC, data={"n": 1}), 200)
    assert outcome(engine, sluice, event) == [{"status": "succeeded", "data": {"n": 1}}]
    has(sluice.callback(run.id, TOPIC, data={"n": 1}), 200)
    assert len(proxy.seen(engine.resumes)) == 1


def test_different_callbacks_at_the_same_moment(engine, sluice, waiting):
    event, run = waiting
    responses, start = {}, threading.Barrier(4)

    def send(number: int):
        start.wait()
        responses[number] = sluice.callback(run.id, TOPIC, data={"n": number})

    senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    [got] = outcome(engine, sluice, event)
    won = [number for number, response in responses.items() if has(response, 200, 202, 409).status_code == 200]
    assert won in ([], [got["data"]["n"]]), responses
    # Those that were stored have lost later, and are dead letters.
    stored = [number for number, response in responses.items() if response.status_code == 202]
    assert len(sluice.dead()) == len([number for number in stored if number != got["data"]["n"]])


def test_a_callback_before_the_run_waits(engine, sluice):
    """It is sent right after the start was answered, whatever the run is doing."""
    event = new_event()
    run = has(sluice.event(engine.waiting, {"event": event}, event), 200).json()["id"]
    has(sluice.callback(run, TOPIC, data={"early": True}), 200, 202)
    assert outcome(engine, sluice, event) == [{"status": "succeeded", "data": {"early": True}}]


def test_a_failed_callback(engine, sluice, request):
    needed(engine, "can_fail", "callbacks have no status other than succeeded")
    event, run = request.getfixturevalue("waiting")
    has(sluice.callback(run.id, TOPIC, "failed", {"why": "no budget"}), 200)
    [got] = outcome(engine, sluice, event)
    assert got == {"status": "failed", "data": {"why": "no budget"}}


def test_a_failed_callback_is_refused_where_the_engine_has_none(engine, sluice, proxy, request):
    if engine.can_fail:
        pytest.skip(f"{engine.name}: callbacks may have the status failed")
    event, run = request.getfixturevalue("waiting")
    response = has(sluice.callback(run.id, TOPIC, "failed", {"why": "no budget"}), 501)
    assert response.json()["type"].endswith("/unsupported-by-engine")
    assert proxy.seen(engine.resumes) == [] and sluice.deliveries("pending") == []
    # The refused callback hasn't taken the place of the right one.
    has(sluice.callback(run.id, TOPIC, data={"ok": True}), 200)
    assert outcome(engine, sluice, event) == [{"status": "succeeded", "data": {"ok": True}}]


def test_a_callback_for_an_ended_run(engine, sluice):
    event = new_event()
    has(sluice.event(engine.workflow, {"event": event}, event), 200)
    [run] = wait_for_runs(engine, event)
    response = sluice.callback(run.id, TOPIC, data={"late": True})
    assert response.status_code in (404, 409), response.text
    assert sluice.deliveries("pending") == []


def test_a_callback_for_an_unknown_run(engine, sluice):
    """It is kept for `callback_early_ms`, since its run may not exist yet, and then becomes a dead letter."""
    has(sluice.callback(engine.unknown_run, TOPIC, data={"n": 1}), 202)
    assert sluice.deliveries("pending") != []
    sluice.settle()
    [dead] = sluice.dead()
    assert dead["ref"] == engine.unknown_run, dead


@pytest.mark.only("argo-workflows", "restate", "temporal")
def test_a_limited_source_calls_back_its_own_workflows_only(engine, session_proxy, waiting):
    """The run's workflow is read from its reference, or the engine is asked for it."""
    event, run = waiting
    source = {"name": "partner", "tokens": ["t0ken"], "callbacks": True}
    for workflow, status in [(engine.workflow, 403), (engine.waiting, 200)]:
        with running(engine, session_proxy.url, sources=[source | {"workflows": [workflow]}]) as sluice:
            query = {"ref": run.id, "topic": TOPIC}
            headers = {"content-type": "application/json", "authorization": "Bearer t0ken"}
            has(sluice.post("/api/v2/callback", query, {"by": workflow}, headers), status)
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"by": engine.waiting}}]
