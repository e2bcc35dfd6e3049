"""Two Sluices whose stores know nothing of each other, as if every read were stale without end: the engine sees to it that
an event that comes to both makes one run."""

import threading

import pytest
from engine import TOPIC
from sluice import has, new_event, running, wait_for_runs

pytestmark = pytest.mark.usefixtures("starts_once")


@pytest.fixture(scope="module")
def gateways(engine, session_proxy):
    with running(engine, session_proxy.url) as one, running(engine, session_proxy.url) as two:
        yield one, two


def at_once(gateways, send) -> list:
    """What `send` returns for each gateway; all calls begin at the same moment."""
    results, start = [None] * len(gateways), threading.Barrier(len(gateways))

    def run(index: int, gateway):
        start.wait()
        results[index] = send(gateway)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(gateways)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def settle(gateways):
    for gateway in gateways:
        gateway.settle()
        assert gateway.dead() == []


def test_an_event_that_comes_to_both_makes_one_run(engine, gateways, proxy):
    events = [new_event() for _ in range(5)]
    for event in events:
        responses = at_once(gateways, lambda gateway, event=event: gateway.event(engine.workflow, {"event": event}, event))
        for response in responses:
            has(response, 200, 202)
    settle(gateways)
    for event in events:
        [run] = wait_for_runs(engine, event)
        for gateway in gateways:
            assert has(gateway.event(engine.workflow, {"event": event}, event), 200).json()["id"] == run.id
        assert len(engine.runs(event)) == 1


@pytest.mark.parametrize("kind", ["lose-answer", "slow-act", "late"])
def test_an_event_that_comes_to_both_and_meets_a_fault(engine, gateways, proxy, kind):
    event = new_event()
    proxy.fail(kind, engine.starts)
    for response in at_once(gateways, lambda gateway: gateway.event(engine.workflow, {"event": event}, event)):
        has(response, 200, 202)
    settle(gateways)
    assert proxy.met()
    wait_for_runs(engine, event)


@pytest.mark.usefixtures("callbacks")
def test_a_callback_that_comes_to_both_counts_once(engine, gateways, waiting):
    event, run = waiting
    for response in at_once(gateways, lambda gateway: gateway.callback(run.id, TOPIC, data={"n": 1})):
        has(response, 200, 202, 409)
    for gateway in gateways:
        gateway.settle()
        gateway.dead()
    [run] = wait_for_runs(engine, event)
    assert run.outcome == [{"status": "succeeded", "data": {"n": 1}}]
