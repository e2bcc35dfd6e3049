"""Payloads in the workflow: what was sent, or what the adapter says that the engine makes of it (`Engine.makes_of`)."""

import json

import pytest
from engine import TOPIC
from sluice import has, new_event, wait_for_runs
from test_callbacks import waiting_run

# Payloads as text. EVENT is replaced by the event's name.
PAYLOADS = {
    "integers": '{"event":"EVENT","n":12345678901234567890,"m":-9007199254740993}',
    "decimals": '{"event":"EVENT","a":1.0,"b":1.50,"c":1e2,"d":-0.0,"e":0.1000000000000000055511151231257827}',
    "doubled members": '{"event":"EVENT","a":1,"b":0,"a":2}',
    "blanks": '{ "event" : "EVENT" ,\n\t"list" : [ 1 , 2 ] }',
    "escapes": r'{"event":"EVENT","a":"\u20ac € \ud83d\ude00 \/ \\ \" \b\f\n\r\t \u2028 \u001f"}',
    "order of members": '{"z":1,"event":"EVENT","b":2,"a":3}',
    "empty": '{"event":"EVENT","a":"","b":[],"c":{},"d":null,"":0}',
    "markup": r'{"event":"EVENT","a":"<script>alert(1)</script> &amp; {{ 7*7 }} {% raw %} ${7*7} $(params.x) #{7*7} %{x}"}',
    "prefect": '{"event":"EVENT","__prefect_kind":"jinja","template":"{{ 7*7 }}","a":{"__prefect_kind":"jinja","template":"{{ 7*7 }}"}}',
    "types": '{"event":"EVENT","__type":"x","__var":{"__type":"set"},"@type":"type.googleapis.com/x","$ref":"#/a","__class__":"os"}',
    "deep": '{"event":"EVENT","a":' + "[" * 60 + "]" * 60 + "}",
    "500 KB": '{"event":"EVENT","a":"' + "ab€ " * 80_000 + '"}',
}


@pytest.fixture(params=PAYLOADS)
def payload(request):
    event = new_event()
    return event, PAYLOADS[request.param].replace("EVENT", event).encode()


@pytest.mark.parametrize("kind", ["event", "webhook"])
def test_a_payload_arrives(engine, sluice, payload, kind):
    event, sent = payload
    has(getattr(sluice, kind)(engine.workflow, sent), 200)
    [run] = wait_for_runs(engine, event)
    assert engine.payload(run) == engine.makes_of(sent)


@pytest.mark.usefixtures("callbacks")
def test_the_payload_of_a_callback_arrives(engine, sluice, payload):
    event, run = waiting_run(engine, sluice)
    sent = payload[1]
    has(sluice.callback(run.id, TOPIC, data=sent), 200)
    sluice.settle()
    [run] = wait_for_runs(engine, event)
    [got] = run.outcome
    assert json.dumps(got["data"]) == json.dumps(json.loads(engine.makes_of(sent)))
