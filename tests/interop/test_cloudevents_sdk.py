"""The official Python SDK sends events; what the engine received is compared field by field."""

import base64
import json
import uuid
from datetime import datetime, timezone

import pytest
import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
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


def attributes(**others) -> dict:
    """Those of an event that was never sent before."""
    return {"id": f"A234-1234 €😀 \"quoted\" 100% {uuid.uuid4()}", **ATTRIBUTES, **others}


def send(sluice, message, path="/api/v2/event"):
    headers = {name: value.encode() for name, value in message.headers.items()}
    return requests.post(sluice.url + path, headers=headers, data=message.body, timeout=30)


def assert_run(answer, workflow):
    assert answer.status_code == 200, answer.text
    run = answer.json()
    assert len(run["id"]) == 24 and run["workflowRef"] == workflow and run["trigger"] == "event"
    # By the hash of its key the run is found again.
    assert len(run["labels"]["sluice.dev/delivery"]) == 52 and len(answer.headers["sluice-delivery"]) == 26


@pytest.mark.parametrize("encode", [to_structured_event, to_binary_event])
def test_a_json_event_arrives_whole(sluice, encode):
    data = {"number": 7, "text": "€😀", "nested": {"list": [1, None, True]}}
    sent_attributes = attributes()
    assert_run(send(sluice, encode(CloudEvent(dict(sent_attributes), data))), "nightly")

    sent = sluice.only_sent()
    assert (sent["method"], sent["path"], sent["query"]) == ("POST", "/api/v1/workflow/nightly/submit", "start=false")
    params = sluice.params()
    event = params.pop("event")
    for name, value in sent_attributes.items():
        if name != "time":
            assert event.pop(name) == value, name
    assert datetime.fromisoformat(event.pop("time").replace("Z", "+00:00")) == ATTRIBUTES["time"]
    assert event == {"data": data}
    assert params == {"data": data, **data}


@pytest.mark.parametrize("encode", [to_structured_event, to_binary_event])
def test_text_data_is_a_string(sluice, encode):
    event = CloudEvent(attributes(datacontenttype="text/plain"), "<a>€</a>")
    assert_run(send(sluice, encode(event)), "nightly")
    params = sluice.params()
    assert params["event"]["datacontenttype"] == "text/plain"
    assert params["event"]["data"] == params["data"] == "<a>€</a>"


@pytest.mark.parametrize("encode", [to_structured_event, to_binary_event])
def test_bytes_stay_base64(sluice, encode):
    data = bytes(range(256))
    event = CloudEvent(attributes(datacontenttype="application/octet-stream"), data)
    assert_run(send(sluice, encode(event)), "nightly")
    params = sluice.params()
    assert "data" not in params["event"]
    assert base64.b64decode(params["event"]["data_base64"]) == data
    assert params["data"] == params["event"]["data_base64"]


@pytest.mark.parametrize("encode", [to_structured_event, to_binary_event])
def test_ref_comes_before_the_subject(sluice, encode):
    answer = send(sluice, encode(CloudEvent(attributes(), {})), "/api/v2/event?ref=other")
    assert_run(answer, "other")


@pytest.mark.parametrize("encode", [to_structured_event, to_binary_event])
@pytest.mark.parametrize("again", [to_structured_event, to_binary_event])
def test_an_event_sent_again_starts_nothing(sluice, encode, again):
    sent = attributes()
    first = send(sluice, encode(CloudEvent(dict(sent), {"n": 1})))
    second = send(sluice, again(CloudEvent(dict(sent), {"n": 1})))
    assert (first.headers["sluice-outcome"], second.headers["sluice-outcome"]) == ("delivered", "duplicate")
    assert (second.status_code, second.text) == (first.status_code, first.text)
    assert second.headers["sluice-delivery"] == first.headers["sluice-delivery"]
    sluice.only_sent()


def test_an_event_without_a_workflow_is_refused(sluice):
    without = {name: value for name, value in attributes().items() if name != "subject"}
    answer = send(sluice, to_binary_event(CloudEvent(without, {})))
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.text)["field"] == "ref"
    assert requests.get(f"{sluice.engine}/stand-in/requests", timeout=10).json()["requests"] == []
