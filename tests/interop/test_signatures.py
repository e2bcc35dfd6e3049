"""The running component accepts exactly the messages that the senders' official libraries have signed."""

import base64
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import pytest
import requests
from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook
from stripe import WebhookSignature
from twilio.request_validator import RequestValidator

TOLERANCE = 300
FORM = "application/x-www-form-urlencoded"
HEX = (bytes.fromhex, bytes.hex)
BASE64 = (base64.b64decode, lambda raw: base64.b64encode(raw).decode())


@dataclass
class Message:
    """A signed message.

    The signature, and the header values that it covers, are located by a header's name and a pattern with one group.
    """

    url: str
    headers: dict
    body: bytes
    # The parsed payload.
    data: dict
    # Decodes and encodes the signature.
    encoding: tuple
    signature: tuple
    covered: list = field(default_factory=list)

    def send(self):
        return requests.post(self.url, headers=self.headers, data=self.body, timeout=30)

    def changed_bodies(self):
        """The message with one bit of the body flipped, for each byte: alternately still ASCII and not."""
        for index in range(len(self.body)):
            yield replace(self, body=flipped(self.body, index, 1 if index % 2 else 0x80))

    def changed_signatures(self):
        """The message with one bit of the signature flipped, for each byte."""
        header, pattern = self.signature
        decode, encode = self.encoding
        raw = decode(re.search(pattern, self.headers[header])[1])
        for index in range(len(raw)):
            yield self.with_value(self.signature, encode(flipped(raw, index, 1 << index % 8)))

    def changed_values(self):
        """The message with one bit of a covered value flipped, for each value. It is the lowest bit of the last
        character, because a timestamp has to stay within the tolerance."""
        for location in self.covered:
            header, pattern = location
            text = re.search(pattern, self.headers[header])[1].encode()
            yield self.with_value(location, flipped(text, len(text) - 1, 1).decode())

    def with_value(self, location, text):
        header, pattern = location
        value = self.headers[header]
        start, end = re.search(pattern, value).span(1)
        return replace(self, headers={**self.headers, header: value[:start] + text + value[end:]})


def flipped(raw: bytes, index: int, bits: int) -> bytes:
    return raw[:index] + bytes([raw[index] ^ bits]) + raw[index + 1:]


def compact(data) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def github(url, secret, event, sent):
    data = {"action": "opened", "number": 7, "title": "€😀", "node_id": event}
    body = compact(data)
    script = """
        import { sign } from "@octokit/webhooks-methods";
        import { text } from "node:stream/consumers";
        const [secret, body] = JSON.parse(await text(process.stdin));
        process.stdout.write(await sign(secret, body));
    """
    signature = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        # Node resolves packages from this directory.
        cwd=pathlib.Path(os.environ["SLUICE_NODE_MODULES"]).parent,
        input=json.dumps([secret, body]), stdout=subprocess.PIPE, text=True, check=True, timeout=60,
    ).stdout
    headers = {
        "content-type": "application/json",
        "x-github-delivery": event,
        "x-github-event": "pull_request",
        "x-hub-signature-256": signature,
    }
    return Message(url, headers, body.encode(), data, HEX, ("x-hub-signature-256", "^sha256=(.{64})$"))


def signed_by_slack(url, secret, content_type, body, data, sent):
    headers = {
        "content-type": content_type,
        "x-slack-request-timestamp": str(sent),
        "x-slack-signature": SignatureVerifier(secret).generate_signature(timestamp=str(sent), body=body),
    }
    covered = [("x-slack-request-timestamp", "^(.+)$")]
    return Message(url, headers, body.encode(), data, HEX, ("x-slack-signature", "^v0=(.{64})$"), covered)


def slack_event(url, secret, event, sent):
    data = {"type": "event_callback", "event_id": event, "event": {"type": "message", "text": "€😀"}}
    return signed_by_slack(url, secret, "application/json", compact(data), data, sent)


def slack_command(url, secret, event, sent):
    data = {"command": "/deploy", "text": "a b+c=€", "trigger_id": event}
    return signed_by_slack(url, secret, FORM, urllib.parse.urlencode(data), data, sent)


def slack_action(url, secret, event, sent):
    data = {"type": "block_actions", "trigger_id": event, "actions": [{"value": "€😀"}]}
    return signed_by_slack(url, secret, FORM, urllib.parse.urlencode({"payload": compact(data)}), data, sent)


def standard_webhooks(url, secret, event, sent):
    data = {"type": "invoice.paid", "data": {"text": "€😀"}}
    body = compact(data)
    headers = {
        "content-type": "application/json",
        "webhook-id": f"msg_{event}",
        "webhook-timestamp": str(sent),
        "webhook-signature": Webhook(secret).sign(f"msg_{event}", datetime.fromtimestamp(sent, timezone.utc), body),
    }
    covered = [("webhook-timestamp", "^(.+)$"), ("webhook-id", "^(.+)$")]
    return Message(url, headers, body.encode(), data, BASE64, ("webhook-signature", "^v1,(.{44})$"), covered)


def stripe(url, secret, event, sent):
    data = {"id": f"evt_{event}", "object": "event", "type": "charge.succeeded", "data": {"text": "€😀"}}
    body = compact(data)
    headers = {
        "content-type": "application/json; charset=utf-8",
        "stripe-signature": WebhookSignature.generate_signature_header(body, secret, sent),
    }
    covered = [("stripe-signature", "^t=([0-9]+),")]
    return Message(url, headers, body.encode(), data, HEX, ("stripe-signature", ",v1=(.{64})$"), covered)


def twilio_form(url, secret, event, sent):
    data = {"MessageSid": event, "From": "+15017122661", "To": "+15558675310", "Body": "a b & c=€😀", "Empty": ""}
    headers = {"content-type": FORM, "x-twilio-signature": RequestValidator(secret).compute_signature(url, data)}
    body = urllib.parse.urlencode(data).encode()
    return Message(url, headers, body, data, BASE64, ("x-twilio-signature", "^(.{28})$"))


def twilio_json(url, secret, event, sent):
    data = {"id": event, "text": "€😀"}
    body, validator = compact(data), RequestValidator(secret)
    url += f"&bodySHA256={validator.compute_hash(body)}"
    headers = {"content-type": "application/json", "x-twilio-signature": validator.compute_signature(url, {})}
    return Message(url, headers, body.encode(), data, BASE64, ("x-twilio-signature", "^(.{28})$"))


DATED = {
    slack_event: "slack",
    slack_command: "slack",
    slack_action: "slack",
    standard_webhooks: "standard-webhooks",
    stripe: "stripe",
}
SENDERS = {**DATED, github: "github", twilio_form: "twilio", twilio_json: "twilio"}
each_sender = pytest.mark.parametrize("sender", SENDERS)
each_dated_sender = pytest.mark.parametrize("sender", DATED)


def signed(guarded, sender, *, secret=0, event=None, ago=0, query="") -> Message:
    """A signed message, by default of a new event. The secret is given as its index, or as its text."""
    if isinstance(secret, int):
        secret = guarded.secrets[SENDERS[sender].replace("-", "_")][secret]
    url = f"{guarded.url}/api/v2/webhook?ref=build{query}"
    return sender(url, secret, event or uuid.uuid4().hex, int(time.time()) - ago)


def assert_success(response, outcome):
    """Asserts a success, with the run as body except for two senders: Slack shows the body to its user, and Twilio
    expects TwiML."""
    assert (response.status_code, response.headers["sluice-outcome"]) in [(200, outcome), (204, outcome)], response.text
    has_run = not any(name in response.request.headers for name in ("x-slack-signature", "x-twilio-signature"))
    assert has_run == bool(response.content) == (response.headers.get("content-type") == "application/json")


def assert_accepted(guarded, message):
    """Sends the message and asserts that it starts a run."""
    response = message.send()
    assert_success(response, "delivered")
    assert guarded.engine_request()["path"] == "/api/v1/workflow/build/submit"
    assert guarded.params() == {"data": message.data}
    return response


def assert_rejected(guarded, message, reason, case=""):
    """Sends the message and asserts a 401 for this reason."""
    response = message.send()
    assert response.status_code == 401, f"{case} {response.text}"
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"].endswith("invalid-signature"), f"{case} {problem}"
    assert problem["detail"].endswith(reason), f"{case} {problem}"
    assert guarded.engine_requests() == []


MISMATCH = "the signature does not match"


@each_sender
@pytest.mark.parametrize("secret", [0, 1], ids=["new", "old"])
def test_secrets_in_rotation_are_accepted(guarded, sender, secret):
    assert_accepted(guarded, signed(guarded, sender, secret=secret))


@each_sender
def test_unknown_secret_is_rejected(guarded, sender):
    other = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    assert_rejected(guarded, signed(guarded, sender, secret=other), MISMATCH)


@each_sender
@pytest.mark.parametrize("changes", [Message.changed_bodies, Message.changed_signatures])
def test_flipped_bit_of_body_or_signature_is_rejected(guarded, sender, changes):
    message = signed(guarded, sender)
    count = 0
    for changed in changes(message):
        assert_rejected(guarded, changed, MISMATCH, f"byte {count}:")
        count += 1
    assert count >= 20
    # The unchanged message is still accepted.
    assert_accepted(guarded, message)


@each_dated_sender
def test_flipped_bit_of_timestamp_or_id_is_rejected(guarded, sender):
    message = signed(guarded, sender)
    changes = list(message.changed_values())
    assert len(changes) == (2 if sender is standard_webhooks else 1)
    for (header, _), changed in zip(message.covered, changes):
        assert_rejected(guarded, changed, MISMATCH, f"{header}:")
    assert_accepted(guarded, message)


@each_dated_sender
def test_timestamp_outside_the_tolerance_is_rejected(guarded, sender):
    event = uuid.uuid4().hex
    old = signed(guarded, sender, event=event, ago=TOLERANCE + 1)
    assert_rejected(guarded, old, f"the timestamp is more than {TOLERANCE} seconds old")
    new = signed(guarded, sender, event=event, ago=-TOLERANCE - 60)
    assert_rejected(guarded, new, f"the timestamp is more than {TOLERANCE} seconds in the future")
    assert_accepted(guarded, signed(guarded, sender, event=event, ago=TOLERANCE - 60))


@each_sender
def test_repeated_message_starts_one_run(guarded, sender):
    event = uuid.uuid4().hex
    message = signed(guarded, sender, event=event, ago=1)
    delivery = assert_accepted(guarded, message).headers["sluice-delivery"]
    # The same bytes, and retries of the sender. Retries are signed again; a redelivery of GitHub keeps its id.
    for name, repeated in {
        "same bytes": message,
        "signed again": signed(guarded, sender, event=event),
        "signed with the old secret": signed(guarded, sender, event=event, secret=1),
    }.items():
        response = repeated.send()
        assert_success(response, "duplicate")
        assert response.headers["sluice-delivery"] == delivery, name
    assert guarded.params() == {"data": message.data}
    other = signed(guarded, sender).send()
    assert other.headers["sluice-outcome"] == "delivered" and other.headers["sluice-delivery"] != delivery


@each_sender
def test_missing_signature_is_rejected(guarded, sender):
    message = signed(guarded, sender, query=f"&sender={SENDERS[sender]}")
    header = message.signature[0]
    rest = {name: value for name, value in message.headers.items() if name != header}
    assert_rejected(guarded, replace(message, headers=rest), f"the header `{header}` is missing")
    assert_accepted(guarded, message)


def test_request_without_sender_and_token_is_rejected(guarded):
    response = requests.post(f"{guarded.url}/api/v2/webhook?ref=build", json={"number": 7}, timeout=30)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="sluice"')
    assert guarded.engine_requests() == []


@pytest.mark.parametrize("sender", [twilio_form, twilio_json])
def test_twilio_signature_for_another_url_is_rejected(guarded, sender):
    message = signed(guarded, sender, query="&note=a%20b+%E2%82%AC")
    other = replace(message, url=message.url.replace("ref=build", "ref=buile"))
    assert_rejected(guarded, other, MISMATCH)
    # The host's spin-full-url counts, not the client's.
    forged = {**message.headers, "spin-full-url": message.url}
    assert_rejected(guarded, replace(other, headers=forged), MISMATCH)
    assert_accepted(guarded, message)


@pytest.mark.parametrize("path", ["/api/v2/event?ref=build", "/api/v2/callback?ref={run}&topic=done"])
def test_events_and_callbacks_are_verified_too(guarded, path):
    waits = requests.post(f"{guarded.engine}/stand-in/waits", json={"workflow": "build", "topic": "done"}, timeout=30)
    url = guarded.url + path.format(run=waits.json()["run"])
    message = standard_webhooks(url, guarded.secrets["standard_webhooks"][1], uuid.uuid4().hex, int(time.time()))
    event = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/s", "type": "t", "data": {"n": 1}}
    body = compact(event)
    at = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), timezone.utc)
    signature = Webhook(guarded.secrets["standard_webhooks"][1]).sign(message.headers["webhook-id"], at, body)
    # The message's signature is for another body.
    assert_rejected(guarded, replace(message, body=body.encode()), MISMATCH)
    valid = replace(message, body=body.encode(), headers={**message.headers, "webhook-signature": signature})
    response = valid.send()
    assert (response.status_code, response.headers["sluice-outcome"]) == (200, "delivered"), response.text
    assert len(guarded.engine_changes()) == 1
