"""Payloads in the workflow: what was sent, or what the adapter says that the engine makes of it (`Engine.makes_of`)."""

import json

import pytest
from engine import TOPIC
from sluice import has, new_event, wait_for_runs

# Members of payloads, as text.
MEMBERS = {
    "integers": '"n":12345678901234567890,"m":-9007199254740993',
    "decimals": '"a":1.0,"b":1.50,"c":1e2,"d":-0.0,"e":0.1000000000000000055511151231257827',
    "doubled members": '"a":1,"b":0,"a":2',
    "blanks": '"list" : [ 1 , 2 ] ,\n\t"b" : { }',
    "escapes": r'"a":"\u20ac € \ud83d\ude00 \/ \\ \" \b\f\n\r\t \u2028 \u001f"',
    "order of members": '"z":1,"b":2,"a":3',
    "empty": '"a":"","b":[],"c":{},"d":null,"":0',
    "markup": r'"a":"<script>alert(1)</script> &amp; {{ 7*7 }} {% raw %} ${7*7} $(params.x) #{7*7} %{x}"',
    "prefect": '"__prefect_kind":"jinja","template":"{{ 7*7 }}","a":{"__prefect_kind":"jinja","template":"{{ 7*7 }}"}',
    "types": '"__type":"x","__var":{"__type":"set"},"@type":"type.googleapis.com/x","$ref":"#/a","__class__":"os"',
    "deep": '"a":' + "[" * 60 + "]" * 60,
    "500 KB": '"a":"' + "ab€ " * 80_000 + '"',
}

# Those of `MEMBERS` that fit into one payload.
TOGETHER = ",".join(f'"{name}":{{{members}}}' for name, members in MEMBERS.items() if name != "500 KB")

# The kind and the name of each payload that starts a run.
SENT = [*(("event", name) for name in MEMBERS), ("webhook", "together"), ("webhook", "500 KB")]


def payload(event: str, members: str) -> bytes:
    return f'{{"event":"{event}",{members}}}'.encode()


@pytest.fixture(scope="module")
def started(engine, session_sluice) -> dict:
    """The event, the payload and the response of each start: events by name, and two webhooks. All are sent before the
    first test waits for its run, since the runs of some engines take seconds."""
    sent = {}
    for kind, name in SENT:
        event = new_event()
        body = payload(event, TOGETHER if name == "together" else MEMBERS[name])
        sent[kind, name] = event, body, getattr(session_sluice, kind)(engine.workflow, body)
    session_sluice.settle()
    return sent


@pytest.mark.parametrize(("kind", "name"), SENT)
def test_a_payload_arrives(engine, sluice, started, kind, name):
    event, sent, response = started[kind, name]
    if len(sent) > engine.largest:
        has(response, 413)
        assert engine.runs(event) == []
        return
    has(response, 200, 202)
    [run] = wait_for_runs(engine, event)
    assert engine.payload(run) == engine.makes_of(sent)


@pytest.mark.usefixtures("callbacks")
@pytest.mark.parametrize("members", [TOGETHER, MEMBERS["500 KB"]], ids=["together", "500 KB"])
def test_the_payload_of_a_callback_arrives(engine, sluice, waiting, members):
    event, run = waiting
    sent = payload(event, members)
    if len(sent) > engine.largest:
        has(sluice.callback(run.id, TOPIC, data=sent), 413)
        sent = payload(event, TOGETHER)
    has(sluice.callback(run.id, TOPIC, data=sent), 200)
    sluice.settle()
    [run] = wait_for_runs(engine, event)
    [got] = run.outcome
    assert json.dumps(got["data"]) == json.dumps(json.loads(engine.makes_of_answer(sent)))
