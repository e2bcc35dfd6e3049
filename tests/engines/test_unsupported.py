"""Engines whose runs can't be resumed."""

import pytest
from engine import TOPIC
from sluice import has, new_event


def test_callbacks_are_refused(engine, sluice, proxy):
    if engine.callbacks:
        pytest.skip(f"{engine.name}: the profile has callbacks")
    event = new_event()
    run = has(sluice.event(engine.workflow, {"event": event}, event), 200).json()["id"]
    proxy.clear()
    response = has(sluice.callback(run, TOPIC, data={"n": 1}), 501)
    assert response.json()["type"].endswith("/unsupported-by-engine")
    assert proxy.seen() == [] and sluice.deliveries("pending") == []
