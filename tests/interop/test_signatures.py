"""The senders' official libraries sign; the running component lets in what they signed, and nothing else."""

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
    """A signed message, and where in its headers what belongs to the signature is."""

    url: str
    headers: dict
    body: bytes
    data: dict
    encoding: tuple
    signature: tuple
    covered: list = field(default_factory=list)

    def send(self):
        return requests.post(self.url, headers=self.headers, data=self.body, timeout=30)

    def bodies(self):
        """One bit of each byte flipped: it stays text, or it doesn't."""
        for at in range(len(self.body)):
            yield replace(self, body=flipped(self.body, at, 1 if at % 2 else 0x80))

    def signatures(self):
        header, pattern = self.signature
        decode, encode = self.encoding
        raw = decode(re.search(pattern, self.headers[header])[1])
        for at in range(len(raw)):
            yield self.with_part(self.signature, encode(flipped(raw, at, 1 << at % 8)))

    def parts(self):
        """The lowest bit of the last digit of a timestamp, which stays within the tolerance, or of an id."""
        for part in self.covered:
            header, pattern = part
            text = re.search(pattern, self.headers[header])[1].encode()
            yield self.with_part(part, flipped(text, len(text) - 1, 1).decode())

    def with_part(self, part, text):
        header, pattern = part
        value = self.headers[header]
        start, end = re.search(pattern, value).span(1)
        return replace(self, headers={**self.headers, header: value[:start] + text + value[end:]})


def flipped(raw: bytes, at: int, bits: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ bits]) + raw[at + 1:]


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
        # Packages are looked for from here on.
        cwd=pathlib.Path(os.environ["SLUICE_NODE_MODULES"]).parent,
        input=json.dumps([secret, body]), stdout=subprocess.PIPE, text=True, check=True, timeout=60,
    ).stdout
    headers = {
        "content-type": "application/json",
        "x-github-delivery": str(uuid.uuid4()),
        "x-github-event": "pull_request",
        "x-hub-signature-256": signature,
    }
    return Message(url, headers, body.encode(), data, HEX, ("x-hub-signature-256", "^sha256=(.{64})$"))


def by_slack(url, secret, content_type, body, data, sent):
    headers = {
        "content-type": content_type,
        "x-slack-request-timestamp": str(sent),
        "x-slack-signature": SignatureVerifier(secret).generate_signature(timestamp=str(sent), body=body),
    }
    covered = [("x-slack-request-timestamp", "^(.+)$")]
    return Message(url, headers, body.encode(), data, HEX, ("x-slack-signature", "^v0=(.{64})$"), covered)


def slack_event(url, secret, event, sent):
    data = {"type": "event_callback", "event_id": event, "event": {"type": "message", "text": "€😀"}}
    return by_slack(url, secret, "application/json", compact(data), data, sent)


def slack_command(url, secret, event, sent):
    data = {"command": "/deploy", "text": "a b+c=€", "trigger_id": event}
    return by_slack(url, secret, FORM, urllib.parse.urlencode(data), data, sent)


def slack_action(url, secret, event, sent):
    data = {"type": "block_actions", "trigger_id": event, "actions": [{"value": "€😀"}]}
    return by_slack(url, secret, FORM, urllib.parse.urlencode({"payload": compact(data)}), data, sent)


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
each = pytest.mark.parametrize("sender", SENDERS)
each_dated = pytest.mark.parametrize("sender", DATED)


def signed(guarded, sender, *, secret=0, event=None, ago=0, query="") -> Message:
    """A message of a new event, unless told which."""
    if isinstance(secret, int):
        secret = guarded.secrets[SENDERS[sender].replace("-", "_")][secret]
    url = f"{guarded.url}/api/v2/webhook?ref=build{query}"
    return sender(url, secret, event or uuid.uuid4().hex, int(time.time()) - ago)


def assert_accepts(answer, outcome):
    """Slack shows a body to its user, and to Twilio it would have to be TwiML."""
    assert (answer.status_code, answer.headers["sluice-outcome"]) in [(200, outcome), (204, outcome)], answer.text
    with_run = not any(name in answer.request.headers for name in ("x-slack-signature", "x-twilio-signature"))
    assert with_run == bool(answer.content) == (answer.headers.get("content-type") == "application/json")


def assert_accepted(guarded, message):
    answer = message.send()
    assert_accepts(answer, "delivered")
    assert guarded.only_sent()["path"] == "/api/v1/workflow/build/submit"
    assert guarded.params() == {"data": message.data}
    return answer


def assert_refused(guarded, message, why):
    answer = message.send()
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].endswith("invalid-signature"), problem
    assert problem["detail"].endswith(why), problem
    assert guarded.sent() == []


MISMATCH = "the signature does not match"


@each
@pytest.mark.parametrize("secret", [0, 1], ids=["new", "old"])
def test_signed_with_any_secret_in_rotation_it_is_let_in(guarded, sender, secret):
    assert_accepted(guarded, signed(guarded, sender, secret=secret))


@each
def test_signed_with_another_secret_it_is_refused(guarded, sender):
    other = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    assert_refused(guarded, signed(guarded, sender, secret=other), MISMATCH)


@each
@pytest.mark.parametrize("flips", [Message.bodies, Message.signatures])
def test_with_one_bit_flipped_it_is_refused(guarded, sender, flips):
    message = signed(guarded, sender)
    count = 0
    for changed in flips(message):
        assert_refused(guarded, changed, MISMATCH)
        count += 1
    assert count >= 20
    # It was the bit, and no refusal stands in the way of the real one.
    assert_accepted(guarded, message)


@each_dated
def test_with_one_bit_of_timestamp_or_id_flipped_it_is_refused(guarded, sender):
    message = signed(guarded, sender)
    changed = list(message.parts())
    assert len(changed) == (2 if sender is standard_webhooks else 1)
    for one in changed:
        assert_refused(guarded, one, MISMATCH)
    assert_accepted(guarded, message)


@each_dated
def test_outside_the_tolerance_it_is_refused_and_told_so(guarded, sender):
    event = uuid.uuid4().hex
    old = signed(guarded, sender, event=event, ago=TOLERANCE + 1)
    assert_refused(guarded, old, f"the timestamp is more than {TOLERANCE} seconds old")
    new = signed(guarded, sender, event=event, ago=-TOLERANCE - 60)
    assert_refused(guarded, new, f"the timestamp is more than {TOLERANCE} seconds in the future")
    assert_accepted(guarded, signed(guarded, sender, event=event, ago=TOLERANCE - 60))


@each
def test_sent_twice_it_starts_one_run(guarded, sender):
    event = uuid.uuid4().hex
    message = signed(guarded, sender, event=event, ago=1)
    delivery = assert_accepted(guarded, message).headers["sluice-delivery"]
    # As it was, and as the sender sends it again: signed anew, GitHub with a new id of the delivery.
    for again in message, signed(guarded, sender, event=event), signed(guarded, sender, event=event, secret=1):
        answer = again.send()
        assert_accepts(answer, "duplicate")
        assert answer.headers["sluice-delivery"] == delivery
    assert guarded.params() == {"data": message.data}
    other = signed(guarded, sender).send()
    assert other.headers["sluice-outcome"] == "delivered" and other.headers["sluice-delivery"] != delivery


@each
def test_unsigned_it_is_refused(guarded, sender):
    message = signed(guarded, sender, query=f"&sender={SENDERS[sender]}")
    header = message.signature[0]
    rest = {name: value for name, value in message.headers.items() if name != header}
    assert_refused(guarded, replace(message, headers=rest), f"the header `{header}` is missing")
    assert_accepted(guarded, message)


def test_no_sender_and_no_token_is_refused(guarded):
    answer = requests.post(f"{guarded.url}/api/v2/webhook?ref=build", json={"number": 7}, timeout=30)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="sluice"')
    assert guarded.sent() == []


@pytest.mark.parametrize("sender", [twilio_form, twilio_json])
def test_what_twilio_signed_for_one_url_is_refused_at_another(guarded, sender):
    message = signed(guarded, sender, query="&note=a%20b+%E2%82%AC")
    other = replace(message, url=message.url.replace("ref=build", "ref=buile"))
    assert_refused(guarded, other, MISMATCH)
    # What the host says of the URL is what counts, not what a client says in its place.
    claims = {**message.headers, "spin-full-url": message.url}
    assert_refused(guarded, replace(other, headers=claims), MISMATCH)
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
    # What was signed for another body is refused.
    assert_refused(guarded, replace(message, body=body.encode()), MISMATCH)
    good = replace(message, body=body.encode(), headers={**message.headers, "webhook-signature": signature})
    answer = good.send()
    assert (answer.status_code, answer.headers["sluice-outcome"]) == (200, "delivered"), answer.text
    assert len(guarded.sent()) == 1
