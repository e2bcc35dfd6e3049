"""GitHub's example payloads arrive byte for byte."""

import json
import os
import pathlib

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = pathlib.Path(os.environ["SLUICE_NODE_MODULES"]) / "@octokit/webhooks-examples/api.github.com/index.json"


def deliver(sluice, body: bytes, event: str):
    # The headers of a delivery, from GitHub Docs, "Webhook events and payloads".
    headers = {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-github-event": event,
    }
    return requests.post(f"{sluice.url}/api/v2/webhook?ref=build", headers=headers, data=body, timeout=30)


def assert_arrived(sluice, body: bytes):
    sent = sluice.engine_request()["body"]
    prefix = '{"trigger":"webhook","params":[{"name":"data","value":'
    assert sent.startswith(prefix)
    assert sent[len(prefix):].startswith(body.decode() + '}],"labels":')


def test_push_arrives_byte_for_byte(sluice):
    pushes = next(example for example in json.loads(EXAMPLES.read_text()) if example["name"] == "push")["examples"]
    # Compact, as GitHub writes it, and with unusual white space and escapes.
    for body in (json.dumps(pushes[0], separators=(",", ":")), json.dumps(pushes[0], indent=3, ensure_ascii=True)):
        sluice.clear()
        response = deliver(sluice, body.encode(), "push")
        assert response.status_code == 200, response.text
        assert len(response.json()["id"]) == 24
        assert_arrived(sluice, body.encode())


def test_every_event_arrives_byte_for_byte(sluice):
    count = 0
    for event in json.loads(EXAMPLES.read_text()):
        body = json.dumps(event["examples"][0], ensure_ascii=False).encode()
        sluice.clear()
        response = deliver(sluice, body, event["name"])
        assert response.status_code == 200, (event["name"], response.text)
        assert_arrived(sluice, body)
        count += 1
    assert count > 40


def test_push_vector_is_one_of_githubs_examples(sluice):
    pushes = next(example for example in json.loads(EXAMPLES.read_text()) if example["name"] == "push")["examples"]
    assert json.loads((ROOT / "tests/vectors/github-push.json").read_text()) in pushes
