"""Faults between Sluice and the engine: each event makes one run by the engine's own list, and none is lost."""

import threading

import pytest
from proxy import KINDS
from sluice import has, new_event, wait_for_runs
from test_callbacks import waiting_run


def delivered_once(engine, sluice, event: str):
    """Drains, and checks that the event has one run and that nothing was given up. Returns the run."""
    sluice.settle()
    assert sluice.dead() == []
    [run] = wait_for_runs(engine, event)
    return run


@pytest.mark.usefixtures("starts_once")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_meets_a_fault(engine, sluice, proxy, kind, times):
    """The second fault hits whatever Sluice sends to start the run again, unless it has found the run."""
    event = new_event()
    proxy.fail(kind, engine.starts, times)
    has(sluice.event(engine.workflow, {"event": event}, event), 200, 202)
    run = delivered_once(engine, sluice, event)
    assert proxy.met() or times == 2
    again = has(sluice.event(engine.workflow, {"event": event}, event), 200)
    assert again.json()["id"] == run.id
    assert len(engine.runs(event)) == 1


@pytest.mark.usefixtures("starts_once")
@pytest.mark.parametrize("kind", KINDS)
def test_a_webhook_without_a_key_that_meets_a_fault(engine, sluice, proxy, kind):
    event = new_event()
    proxy.fail(kind, engine.starts)
    has(sluice.webhook(engine.workflow, {"event": event}), 200, 202)
    delivered_once(engine, sluice, event)
    assert proxy.met()


@pytest.mark.usefixtures("starts_once")
def test_every_request_meets_a_fault_in_turn(engine, sluice, proxy):
    """Look-ups fail too: the second request after the start loses its answer, the third gets a 503, and so on."""
    event = new_event()
    for kind in ("lose-answer", "unavailable", "cut", "lose-answer"):
        proxy.fail(kind)
    has(sluice.event(engine.workflow, {"event": event}, event), 200, 202)
    delivered_once(engine, sluice, event)
    assert proxy.met()


def test_an_engine_that_is_down(engine, sluice):
    """Nothing is lost while the engine is gone. What was started before remains known to it."""
    before, during = new_event(), new_event()
    first = has(sluice.event(engine.workflow, {"event": before}, before), 200)
    wait_for_runs(engine, before)
    engine.kill()
    has(sluice.event(engine.workflow, {"event": during}, during), 202)
    sluice.drain()
    engine.restart()
    delivered_once(engine, sluice, during)
    again = has(sluice.event(engine.workflow, {"event": before}, before), 200)
    assert again.json()["id"] == first.json()["id"]
    assert len(engine.runs(before)) == 1


@pytest.mark.usefixtures("starts_once")
def test_an_engine_that_is_killed_after_it_has_started_a_run(engine, sluice, proxy):
    event = new_event()
    proxy.fail("lose-answer", engine.starts)
    has(sluice.event(engine.workflow, {"event": event}, event), 202)
    engine.kill()
    engine.restart()
    delivered_once(engine, sluice, event)


@pytest.mark.usefixtures("starts_once")
def test_an_engine_that_is_killed_under_load(engine, sluice):
    """Four senders deliver five events each; the engine is killed when the first has been answered."""
    events, answered = [new_event() for _ in range(20)], threading.Event()
    failures = []

    def send(mine: list):
        for event in mine:
            response = sluice.event(engine.workflow, {"event": event}, event)
            if response.status_code not in (200, 202):
                failures.append(response.text)
            answered.set()

    senders = [threading.Thread(target=send, args=(events[first::4],)) for first in range(4)]
    for sender in senders:
        sender.start()
    answered.wait()
    engine.kill()
    engine.restart()
    for sender in senders:
        sender.join()
    assert failures == []
    sluice.settle()
    assert sluice.dead() == []
    for event in events:
        wait_for_runs(engine, event)


@pytest.mark.usefixtures("callbacks")
@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_that_meets_a_fault(engine, sluice, proxy, kind):
    event, run = waiting_run(engine, sluice)
    proxy.fail(kind, engine.resumes)
    has(sluice.callback(run.id, "approval", data={"by": kind}), 200, 202)
    run = delivered_once(engine, sluice, event)
    assert proxy.met()
    assert run.outcome == [{"status": "succeeded", "data": {"by": kind}}]
    has(sluice.callback(run.id, "approval", data={"by": kind}), 200)
    has(sluice.callback(run.id, "approval", data={"by": "another"}), 409)


@pytest.mark.usefixtures("callbacks")
@pytest.mark.parametrize("kind", ["lose-answer", "unavailable", "cut"])
def test_a_callback_all_of_whose_requests_meet_a_fault(engine, sluice, proxy, kind):
    """Looks included: each of the first three requests fails."""
    event, run = waiting_run(engine, sluice)
    proxy.fail(kind, times=3)
    has(sluice.callback(run.id, "approval", data={"by": kind}), 200, 202)
    run = delivered_once(engine, sluice, event)
    assert proxy.met()
    assert run.outcome == [{"status": "succeeded", "data": {"by": kind}}]


@pytest.mark.usefixtures("callbacks")
def test_a_callback_while_the_engine_is_down(engine, sluice):
    event, run = waiting_run(engine, sluice)
    engine.kill()
    has(sluice.callback(run.id, "approval", data={"by": "a"}), 202)
    engine.restart()
    run = delivered_once(engine, sluice, event)
    assert run.outcome == [{"status": "succeeded", "data": {"by": "a"}}]


@pytest.mark.usefixtures("callbacks")
def test_an_engine_that_is_killed_after_a_callback(engine, sluice, proxy):
    event, run = waiting_run(engine, sluice)
    proxy.fail("lose-answer", engine.resumes)
    has(sluice.callback(run.id, "approval", data={"by": "a"}), 200, 202)
    engine.kill()
    engine.restart()
    run = delivered_once(engine, sluice, event)
    assert run.outcome == [{"status": "succeeded", "data": {"by": "a"}}]
