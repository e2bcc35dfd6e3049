"""What the profile `generic` sends besides the payload, and what it makes of answers."""

import urllib.parse

import pytest
from sluice import has, new_event, wait_for_runs


pytestmark = pytest.mark.only("generic")


def headers(engine, run) -> dict:
    [found] = [kept["headers"] for kept in engine.kept() if kept["headers"]["idempotency-key"] == run.id]
    return found


def test_an_event_keeps_its_attributes(engine, sluice):
    event = new_event()
    has(sluice.event("record", {"event": event}, event, source="/tests/a%20b"), 200)
    [run] = wait_for_runs(engine, event)
    sent = headers(engine, run)
    assert sent["ce-id"] == event
    assert (sent["ce-specversion"], sent["ce-type"]) == ("1.0", "com.example.test")
    # The binding encodes a percent sign.
    assert urllib.parse.unquote(sent["ce-source"]) == "/tests/a%20b"
    assert sent["content-type"] == "application/json"


def test_a_webhook_becomes_an_event(engine, sluice):
    event = new_event()
    has(sluice.webhook("record", {"event": event}), 200)
    [run] = wait_for_runs(engine, event)
    sent = headers(engine, run)
    assert sent["ce-id"] == sent["idempotency-key"] == run.id
    assert (sent["ce-specversion"], sent["ce-type"]) == ("1.0", "dev.sluice.webhook")
    assert sent["ce-source"].startswith("/sluice/")


@pytest.mark.parametrize("kind", ["lose-answer", "late", "cut", "unavailable"])
def test_a_start_after_doubt_comes_again_with_the_same_key(engine, sluice, proxy, kind):
    event = new_event()
    proxy.fail(kind, engine.starts)
    has(sluice.event("record", {"event": event}, event), 200, 202)
    sluice.settle()
    runs = wait_for_runs(engine, event, count=2 if kind in ("lose-answer", "late") else 1)
    assert len({run.id for run in runs}) == 1
