"""Events of the official Python and JavaScript SDKs arrive at the engine with every field intact."""

import base64
import json
import pathlib
import subprocess
import uuid
from datetime import datetime, timezone

import pytest
import requests
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v03.event import CloudEvent as CloudEvent03
from cloudevents.core.v1.event import CloudEvent

ATTRIBUTES = {
    "specversion": "1.0",
    "source": "https://example.com/cloudevents/pull",
    "type": "com.example.pull.create",
    "subject": "/nightly/tick",
    "time": datetime(2018, 4, 5, 17, 31, 0, tzinfo=timezone.utc),
    "datacontenttype": "application/json",
    "comexampleextension1": "value € 😀",
}
BATCH = {"content-type": "application/cloudevents-batch+json"}
JAVASCRIPT = pathlib.Path(__file__).with_name("cloudevents.mjs")


def attributes(**others) -> dict:
    """Attributes with a new id."""
    return {"id": f"A234-1234 €😀 \"quoted\" 100% {uuid.uuid4()}", **ATTRIBUTES, **others}


def python(mode):
    def encode(*events):
        encode = {"binary": to_binary_event}.get(mode, to_structured_event)
        make = {"1.0": CloudEvent, "0.3": CloudEvent03}
        messages = [encode(make[made["specversion"]](dict(made), data)) for made, data in events]
        if mode == "batch":
            return HTTPMessage(BATCH, b"[" + b",".join(message.body for message in messages) + b"]")
        return messages[0]

    return encode


def javascript(mode):
    def encode(*events):
        made = []
        for event, data in events:
            event = {**event, "time": event["time"].isoformat()}
            made.append(event | ({"bytes": base64.b64encode(data).decode()} if isinstance(data, bytes) else {"data": data}))
        job = json.dumps({"mode": mode, "events": made})
        out = subprocess.run(["node", JAVASCRIPT], input=job.encode(), stdout=subprocess.PIPE, check=True, timeout=60)
        message = json.loads(out.stdout)
        return HTTPMessage(message["headers"], base64.b64decode(message["body"]))

    return encode


SDKS = {f"{sdk.__name__}, {mode}": sdk(mode) for sdk in (python, javascript) for mode in ("structured", "binary")}
each_sdk_and_mode = pytest.mark.parametrize("encode", SDKS.values(), ids=SDKS)
each_sdk_batch = pytest.mark.parametrize("encode", [python("batch"), javascript("batch")], ids=["python", "javascript"])


def send(sluice, message, path="/api/v2/event"):
    headers = {name: value.encode() for name, value in message.headers.items()}
    return requests.post(sluice.url + path, headers=headers, data=message.body, timeout=30)


def assert_run(response, workflow):
    assert response.status_code == 200, response.text
    run = response.json()
    assert len(run["id"]) == 24 and run["workflowRef"] == workflow and run["trigger"] == "event"
    # The label is the hash of the delivery's key, by which Sluice can find the run later.
    assert len(run["labels"]["sluice.dev/delivery"]) == 52 and len(response.headers["sluice-delivery"]) == 26


def assert_attributes(event: dict, sent: dict):
    """Asserts that the event has exactly the attributes that were sent."""
    for name, value in sent.items():
        if name != "time":
            assert event.pop(name) == value, name
    assert datetime.fromisoformat(event.pop("time").replace("Z", "+00:00")) == sent["time"]
    assert event == {}


@each_sdk_and_mode
def test_json_event_arrives_intact(sluice, encode):
    data = {"number": 7, "text": "€😀", "nested": {"list": [1, None, True]}}
    sent_attributes = attributes()
    assert_run(send(sluice, encode((sent_attributes, data))), "nightly")

    sent = sluice.engine_request()
    assert (sent["method"], sent["path"], sent["query"]) == ("POST", "/api/v1/workflow/nightly/submit", "start=false")
    params = sluice.params()
    event = params.pop("event")
    assert event.pop("data") == data
    assert_attributes(event, sent_attributes)
    assert params == {"data": data, **data}


@each_sdk_and_mode
def test_text_data_is_a_string(sluice, encode):
    sent_attributes = attributes(datacontenttype="text/plain")
    assert_run(send(sluice, encode((sent_attributes, "<a>€</a>"))), "nightly")
    params = sluice.params()
    assert params["event"].pop("data") == params["data"] == "<a>€</a>"
    assert_attributes(params["event"], sent_attributes)


@each_sdk_and_mode
def test_binary_data_is_base64(sluice, encode):
    data = bytes(range(256))
    sent_attributes = attributes(datacontenttype="application/octet-stream")
    assert_run(send(sluice, encode((sent_attributes, data))), "nightly")
    params = sluice.params()
    assert "data" not in params["event"]
    assert base64.b64decode(params["data"]) == data
    assert params["event"].pop("data_base64") == params["data"]
    assert_attributes(params["event"], sent_attributes)


@each_sdk_and_mode
def test_event_of_version_0_3_keeps_its_version(sluice, encode):
    sent_attributes = attributes(specversion="0.3", schemaurl="https://example.com/schema")
    assert_run(send(sluice, encode((sent_attributes, {"n": 1}))), "nightly")
    params = sluice.params()
    event = params["event"]
    assert event.pop("data") == params["data"] == {"n": 1}
    assert_attributes(event, sent_attributes)


@each_sdk_and_mode
def test_ref_precedes_the_subject(sluice, encode):
    response = send(sluice, encode((attributes(), {})), "/api/v2/event?ref=other")
    assert_run(response, "other")


@each_sdk_and_mode
@pytest.mark.parametrize("again", SDKS.values(), ids=SDKS)
def test_repeated_event_starts_no_second_run(sluice, encode, again):
    sent = attributes()
    first = send(sluice, encode((sent, {"n": 1})))
    second = send(sluice, again((sent, {"n": 1})))
    assert (first.headers["sluice-outcome"], second.headers["sluice-outcome"]) == ("delivered", "duplicate")
    assert (second.status_code, second.text) == (first.status_code, first.text)
    assert second.headers["sluice-delivery"] == first.headers["sluice-delivery"]
    sluice.engine_request()


@each_sdk_batch
def test_batch_starts_a_run_per_event(sluice, encode):
    sent = [(attributes(subject=f"/w{n}/t"), {"n": n}) for n in range(5)] + [(attributes(), bytes(range(256)))]
    sent[5][0]["datacontenttype"] = "application/octet-stream"
    response = send(sluice, encode(*sent))
    assert (response.status_code, response.headers["sluice-outcome"]) == (200, "delivered"), response.text
    deliveries = response.json()["deliveries"]
    assert [delivery["id"] for delivery in deliveries] == [event["id"] for event, _ in sent]
    assert [delivery["workflow"] for delivery in deliveries] == ["w0", "w1", "w2", "w3", "w4", "nightly"]
    assert len({delivery["run"] for delivery in deliveries}) == 6
    received = {}
    for request in sluice.engine_requests():
        params = {param["name"]: param["value"] for param in json.loads(request["body"])["params"]}
        received[params["event"]["id"]] = params["event"]
    for event, data in sent:
        actual = received.pop(event["id"])
        if isinstance(data, bytes):
            assert base64.b64decode(actual.pop("data_base64")) == data
        else:
            assert actual.pop("data") == data
        assert_attributes(actual, event)
    assert received == {}
    again = send(sluice, encode(*sent))
    assert [delivery["outcome"] for delivery in again.json()["deliveries"]] == ["duplicate"] * 6
    assert len(sluice.engine_requests()) == 6


@each_sdk_batch
def test_batch_with_invalid_events_starts_nothing(sluice, encode):
    sent = [(attributes(), {"n": n}) for n in range(500)]
    good = encode(*sent)
    events = json.loads(good.body)
    events[7]["source"], events[77]["time"] = "", "yesterday"
    del events[499]["type"]
    response = send(sluice, HTTPMessage(good.headers, json.dumps(events).encode()))
    assert response.status_code == 400
    assert [(event["index"], event["field"]) for event in response.json()["events"]] == [
        (7, "source"), (77, "time"), (499, "type"),
    ]
    assert sluice.engine_requests() == []

    # The valid batch, sent twice, starts 500 runs. If the batch takes long, a drain starts some of them.
    for _ in range(2):
        response = send(sluice, good)
        assert response.status_code in (200, 202), response.text
        assert len(response.json()["deliveries"]) == 500
    operator = {"authorization": "Bearer op3rator"}
    while requests.post(f"{sluice.url}/api/v2/deliveries/drain", headers=operator, timeout=60).json()["pending"] != 0:
        pass
    submits = [json.loads(request["body"]) for request in sluice.engine_requests() if request["method"] == "POST"]
    started = [submit["params"][0]["value"]["id"] for submit in submits]
    assert len(started) == len(set(started)) == 500


def test_event_without_a_workflow_is_rejected(sluice):
    without = {name: value for name, value in attributes().items() if name != "subject"}
    response = send(sluice, python("binary")((without, {})))
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.text)["field"] == "ref"
    assert sluice.engine_requests() == []
