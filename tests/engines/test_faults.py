"""Faults between Sluice and the engine: each event makes one run by the engine's own list, and none is lost."""

import threading

import pytest
from proxy import KINDS
from sluice import has, new_event, wait_for_runs


def delivered_once(engine, sluice, event: str):
    """Drains, and checks that the event has one run and that nothing was given up. Returns the run."""
    sluice.settle()
    assert sluice.dead() == []
    [run] = wait_for_runs(engine, event)
    return run


@pytest.mark.usefixtures("starts_once")
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_meets_a_fault(engine, sluice, proxy, kind):
    event = new_event()
    proxy.fail(kind, engine.starts)
    has(sluice.event(engine.workflow, {"event": event}, event), 200, 202)
    run = delivered_once(engine, sluice, event)
    assert proxy.met()
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
@pytest.mark.parametrize(("first", "second"), [("slow-act", "lose-answer"), ("lose-answer", "cut")])
def test_whatever_follows_a_fault_meets_another(engine, sluice, proxy, first, second):
    """The second fault hits the next request of any kind: the start that is sent again, or a look-up."""
    event = new_event()
    proxy.fail(first, engine.starts)
    proxy.fail(second)
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
    """Four senders deliver two events each; the engine is killed when the first has been answered."""
    events, answered = [new_event() for _ in range(8)], threading.Event()
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
def test_a_callback_that_meets_a_fault(engine, sluice, proxy, waiting, kind):
    event, run = waiting
    proxy.fail(kind, engine.resumes)
    has(sluice.callback(run.id, "approval", data={"by": kind}), 200, 202)
    run = delivered_once(engine, sluice, event)
    assert proxy.met()
    assert run.outcome == [{"status": "succeeded", "data": {"by": kind}}]
    has(sluice.callback(run.id, "approval", data={"by": kind}), 200)
    has(sluice.callback(run.id, "approval", data={"by": "another"}), 409)


@pytest.mark.usefixtures("callbacks")
@pytest.mark.parametrize("kind", ["lose-answer", "cut"])
def test_a_callback_whose_first_requests_meet_a_fault(engine, sluice, proxy, waiting, kind):
    """Looks included: each of the first two requests fails."""
    event, run = waiting
    proxy.fail(kind, times=2)
    has(sluice.callback(run.id, "approval", data={"by": kind}), 200, 202)
    run = delivered_once(engine, sluice, event)
    assert proxy.met()
    assert run.outcome == [{"status": "succeeded", "data": {"by": kind}}]


@pytest.mark.usefixtures("callbacks")
def test_a_callback_while_the_engine_is_down(engine, sluice, waiting):
    event, run = waiting
    engine.kill()
    has(sluice.callback(run.id, "approval", data={"by": "a"}), 202)
    engine.restart()
    run = delivered_once(engine, sluice, event)
    assert run.outcome == [{"status": "succeeded", "data": {"by": "a"}}]


@pytest.mark.usefixtures("callbacks")
def test_an_engine_that_is_killed_after_a_callback(engine, sluice, proxy, waiting):
    event, run = waiting
    proxy.fail("lose-answer", engine.resumes)
    has(sluice.callback(run.id, "approval", data={"by": "a"}), 200, 202)
    engine.kill()
    engine.restart()
    run = delivered_once(engine, sluice, event)
    assert run.outcome == [{"status": "succeeded", "data": {"by": "a"}}]
