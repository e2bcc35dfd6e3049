"""Requests as vendors send them. The vendor's library signs them where it can; otherwise this file does, as the
vendor's page says. Nothing here is taken from Sluice.

vendors.json lists the libraries, and says in which cases their answers differ from Sluice's. vendors.mjs calls the
libraries for JavaScript.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import subprocess
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import requests
from box_sdk_gen.managers.webhooks import WebhooksManager
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from elevenlabs.webhooks_custom import WebhooksClient
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature as verify_square
from standardwebhooks.webhooks import Webhook
from stripe import WebhookSignature
from twilio.request_validator import RequestValidator

DIRECTORY = pathlib.Path(__file__).parent
LIBRARIES = {library["name"]: library for library in json.loads((DIRECTORY / "vendors.json").read_text())}
FORM = "application/x-www-form-urlencoded"
# The receiver that tokens name, the name of LiveKit's key, and the topic of SNS.
AUDIENCE, API_KEY = "https://sluice.test", "APIkey"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:builds"
# The seconds for which tokens are valid.
LIFETIME = 300


@dataclass(frozen=True)
class Message:
    """A request."""

    url: str
    headers: dict
    body: bytes

    def send(self):
        return requests.post(self.url, headers=self.headers, data=self.body, timeout=30)

    def with_headers(self, headers: dict):
        return replace(self, headers={**self.headers, **headers})

    @property
    def text(self) -> str:
        """The body for libraries that take it as a text."""
        return self.body.decode(errors="replace")


@dataclass(frozen=True)
class Place:
    """A part of a request: the only group of a pattern in a header, or in the `body` or `url`."""

    name: str
    pattern: str = "^(.+)$"
    decode: Callable = str.encode
    encode: Callable = bytes.decode

    def find(self, message: Message) -> re.Match:
        text = {"body": message.text, "url": message.url}.get(self.name) or message.headers[self.name]
        return re.search(self.pattern, text)

    def read(self, message: Message) -> bytes:
        return self.decode(self.find(message)[1])

    def write(self, message: Message, raw: bytes) -> Message:
        match = self.find(message)
        text = match.string[: match.start(1)] + self.encode(raw) + match.string[match.end(1):]
        match self.name:
            case "body":
                return replace(message, body=text.encode())
            case "url":
                return replace(message, url=text)
        return message.with_headers({self.name: text})


def to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


HEX = (bytes.fromhex, bytes.hex)
BASE64 = (base64.b64decode, to_base64)
BASE64URL = (from_base64url, to_base64url)
# A part of the query.
URL = Place("url", "ref=([a-z]+)")


@dataclass(frozen=True)
class Key:
    """What the vendor signs with, and what the receiver is given."""

    signer: object
    receiver: str
    # What the library is given, if it takes another form.
    library: str


def secret() -> Key:
    text = os.urandom(16).hex()
    return Key(text.encode(), text, text)


def whsec() -> Key:
    raw = os.urandom(24)
    text = "whsec_" + to_base64(raw)
    return Key(raw, text, text)


def ed25519_key(encode) -> Callable[[], Key]:
    def make() -> Key:
        private = ed25519.Ed25519PrivateKey.generate()
        text = encode(private.public_key().public_bytes_raw())
        return Key(private, text, text)

    return make


def spki(private) -> str:
    return to_base64(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def ecdsa_key() -> Key:
    private = ec.generate_private_key(ec.SECP256R1())
    return Key(private, spki(private), spki(private))


def rsa_key() -> Key:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Key(private, spki(private), pem)


def certified_key() -> Key:
    key, now = rsa_key(), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, key.signer.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return replace(key, library=builder.sign(key.signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode())


@dataclass(frozen=True)
class Event:
    """An event that is sent at a time, in seconds since the Unix epoch."""

    key: Key
    id: str
    time: int
    url: str
    body: bytes = b""

    def hmac(self, *parts) -> bytes:
        return hmac.new(self.key.signer, joined(*parts), "sha256").digest()


def joined(*parts) -> bytes:
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)


def compact(data) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def at(time: int) -> datetime:
    return datetime.fromtimestamp(time, timezone.utc)


@dataclass(frozen=True)
class Vendor:
    """What a vendor sends, and the parts that its signature covers."""

    # As in vendors.json.
    name: str
    key: Callable[[], Key]
    signature: Place
    # The event's payload: JSON, or the fields of a form.
    payload: Callable[[Event], object] = lambda event: {"id": event.id, "type": "a.b", "text": "€😀"}
    # Makes the headers of a signed request; `None` if the library for JavaScript does.
    sign: Callable[[Event], dict] | None = None
    # Asks the library whether the request is valid: it returns `False` or raises an error if not. `None` if it is for
    # JavaScript.
    verify: Callable[[Key, Message], object] | None = None
    # Signed parts besides the body.
    covered: Sequence[Place] = ()
    covers_body: bool = True
    # The accepted distance of the signed time from now, in seconds.
    tolerance: int | None = None
    # The time for which a token is valid, in seconds.
    lifetime: int | None = None
    content_type: str = "application/json"
    # More members of the source.
    source: dict = field(default_factory=dict)
    # Whether anything tells the repeat of an event from another event.
    has_identity: bool = True

    @property
    def library(self) -> dict:
        return LIBRARIES[self.name]

    @property
    def preset(self) -> str:
        return self.library["preset"]


def flipped(raw: bytes, index: int, bits: int) -> bytes:
    return raw[:index] + bytes([raw[index] ^ bits]) + raw[index + 1:]


def query(message: Message) -> dict:
    return dict(urllib.parse.parse_qsl(message.text, keep_blank_values=True))


# Schemes that several vendors use.


def signature_in(header: str, pattern="^(.+)$", encoding=HEX) -> Place:
    return Place(header, pattern, *encoding)


def standard(prefix: str):
    """The signature of Standard Webhooks, in headers with a prefix."""

    def sign(event: Event) -> dict:
        signature = "v1," + to_base64(event.hmac(event.id, ".", event.time, ".", event.body))
        return {f"{prefix}-id": event.id, f"{prefix}-timestamp": str(event.time), f"{prefix}-signature": signature}

    return {
        "sign": sign,
        "signature": Place(f"{prefix}-signature", "^v1,(.+)$", *BASE64),
        "covered": (Place(f"{prefix}-id"), Place(f"{prefix}-timestamp")),
        "tolerance": 300,
    }


def of_body(header: str, encode=bytes.hex):
    """The HMAC of the body, in a header."""
    encoding = HEX if encode is bytes.hex else BASE64
    return {
        "sign": lambda event: {header: encode(event.hmac(event.body))},
        "signature": signature_in(header, encoding=encoding),
    }


def of_token(header: str, make: Callable[[Event], str] | None, id_header: str | None = None):
    """A JSON Web Token, in a header. The delivery's id may be in another one."""

    def sign(event: Event) -> dict:
        return {header: make(event)} | ({id_header: event.id} if id_header else {})

    part = r"[\w-]+"
    places = [rf"({part})\.{part}\.{part}$", rf"{part}\.({part})\.{part}$", rf"{part}\.{part}\.({part})$"]
    head, claims, signature = (Place(header, pattern, *BASE64URL) for pattern in places)
    sign = sign if make else None
    return {"sign": sign, "signature": signature, "covered": (head, claims), "lifetime": LIFETIME}


def token(event: Event, claims: dict, algorithm="HS256") -> str:
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": "key"} if algorithm == "RS256" else {})
    signed = ".".join(to_base64url(compact(part)) for part in (header, claims)).encode()
    if algorithm == "RS256":
        signature = event.key.signer.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = event.hmac(signed)
    return f"{signed.decode()}.{to_base64url(signature)}"


def sha256(*parts):
    return hashlib.sha256(joined(*parts))


def ed25519_signed(header: str, stamp: str, separator: str, encode):
    def sign(event: Event) -> dict:
        signature = event.key.signer.sign(joined(event.time, separator, event.body))
        return {stamp: str(event.time), header: encode(signature)}

    encoding = HEX if encode is bytes.hex else BASE64
    return {"sign": sign, "signature": signature_in(header, encoding=encoding), "covered": (Place(stamp),)}


def discord(name: str, payload, **more) -> Vendor:
    signed = ed25519_signed("x-signature-ed25519", "x-signature-timestamp", "", bytes.hex)
    return Vendor(name, ed25519_key(bytes.hex), payload=payload, tolerance=300, **signed, **more)


def shopify(name: str, prefix: str) -> Vendor:
    def sign(event: Event) -> dict:
        headers = {"topic": "orders/create", "shop-domain": "a.myshopify.com", "api-version": "2026-07"}
        headers |= {"webhook-id": event.id, "event-id": event.id, "hmac-sha256": to_base64(event.hmac(event.body))}
        return {f"{prefix}-{header}": value for header, value in headers.items()}

    return Vendor(name, secret, signature_in(f"{prefix}-hmac-sha256", encoding=BASE64), sign=sign)


# What vendors send. Their pages are named in src/sender/presets.


def sns_payload(event: Event) -> dict:
    host = "https://sns.eu-central-1.amazonaws.com"
    data = {
        "Type": "Notification",
        "MessageId": event.id,
        "TopicArn": TOPIC,
        "Subject": "a subject",
        "Message": "€😀 a message",
        "Timestamp": "2026-11-27T12:00:00.000Z",
        "SignatureVersion": "2",
        # The library keeps certificates by URL.
        "SigningCertURL": f"{host}/SimpleNotificationService-{sha256(event.key.library).hexdigest()}.pem",
        "UnsubscribeURL": f"{host}/?Action=Unsubscribe",
    }
    members = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    signed = "".join(f"{member}\n{data[member]}\n" for member in members).encode()
    return data | {"Signature": to_base64(event.key.signer.sign(signed, padding.PKCS1v15(), hashes.SHA256()))}


def messagebird_claims(event: Event) -> dict:
    hashed = {"payload_hash": sha256(event.body).hexdigest(), "url_hash": sha256(event.url).hexdigest()}
    return {"iss": "MessageBird", "nbf": event.time, "exp": event.time + LIFETIME, "jti": event.id} | hashed


def qstash_claims(event: Event) -> dict:
    claims = {"iss": "Upstash", "sub": event.url, "jti": event.id, "body": to_base64url(sha256(event.body).digest())}
    return claims | {"exp": event.time + LIFETIME, "nbf": event.time, "iat": event.time}


def google_claims(event: Event) -> dict:
    claims = {"iss": "https://accounts.google.com", "aud": AUDIENCE, "sub": "1"}
    claims |= {"email": "push@a.iam.gserviceaccount.com", "email_verified": True}
    return claims | {"iat": event.time, "exp": event.time + LIFETIME}


def vonage_claims(event: Event) -> dict:
    return {"iss": "Vonage", "iat": event.time, "jti": event.id, "payload_hash": sha256(event.body).hexdigest()}


def box_headers(event: Event) -> dict:
    time = at(event.time).astimezone(timezone(timedelta(hours=-8))).isoformat()
    return {
        "box-delivery-id": event.id,
        "box-delivery-timestamp": time,
        "box-signature-algorithm": "HmacSHA256",
        "box-signature-version": "1",
        "box-signature-primary": to_base64(event.hmac(event.body, time)),
    }


def sendgrid_headers(event: Event) -> dict:
    name = "x-twilio-email-event-webhook"
    signature = event.key.signer.sign(joined(event.time, event.body), ec.ECDSA(hashes.SHA256()))
    return {f"{name}-timestamp": str(event.time), f"{name}-signature": to_base64(signature)}


def slack_headers(event: Event) -> dict:
    signature = SignatureVerifier(event.key.receiver).generate_signature(timestamp=str(event.time), body=event.body)
    return {"x-slack-request-timestamp": str(event.time), "x-slack-signature": signature}


def slack_accepts(key: Key, message: Message) -> bool:
    headers = message.headers
    stamp, signature = headers["x-slack-request-timestamp"], headers["x-slack-signature"]
    return SignatureVerifier(key.library).is_valid(message.body, stamp, signature)


def standard_headers(event: Event) -> dict:
    signature = Webhook(event.key.receiver).sign(event.id, at(event.time), event.body.decode())
    return {"webhook-id": event.id, "webhook-timestamp": str(event.time), "webhook-signature": signature}


def square_accepts(key: Key, message: Message) -> bool:
    return verify_square(
        request_body=message.text,
        signature_header=message.headers["x-square-hmacsha256-signature"],
        signature_key=key.library,
        notification_url=message.url,
    )


def stripe_headers(event: Event) -> dict:
    signer = WebhookSignature.generate_signature_header
    return {"stripe-signature": signer(event.body.decode(), event.key.receiver, event.time)}


def stripe_accepts(key: Key, message: Message) -> bool:
    return WebhookSignature.verify_header(message.text, message.headers["stripe-signature"], key.library, 300)


def twilio_headers(event: Event) -> dict:
    fields = dict(urllib.parse.parse_qsl(event.body.decode(), keep_blank_values=True))
    signature = RequestValidator(event.key.receiver).compute_signature(event.url, fields)
    return {"x-twilio-signature": signature, "i-twilio-idempotency-token": event.id}


def twilio_accepts(key: Key, message: Message) -> bool:
    return RequestValidator(key.library).validate(message.url, query(message), message.headers["x-twilio-signature"])


VENDORS = [
    Vendor("anthropic", whsec, **standard("webhook")),
    Vendor(
        "aws-sns",
        certified_key,
        Place("body", '"Signature":"([^"]+)"', *BASE64),
        payload=sns_payload,
        sign=lambda event: {"x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": event.id},
        covered=tuple(
            Place("body", f'"{member}":"([^"]+)"')
            for member in ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
        ),
        covers_body=False,
        content_type="text/plain; charset=UTF-8",
        source={"sender": {"like": "aws-sns", "constants": {"topic_arn": TOPIC}}},
    ),
    Vendor(
        "box",
        secret,
        signature_in("box-signature-primary", encoding=BASE64),
        payload=lambda event: {"type": "webhook_event", "id": event.id, "trigger": "FILE.UPLOADED", "text": "€😀"},
        sign=box_headers,
        verify=lambda key, message: WebhooksManager.validate_message(message.text, message.headers, key.library),
        covered=(Place("box-delivery-timestamp", r":(\d\d)-08:00$"),),
        tolerance=600,
    ),
    Vendor("clerk", whsec, **standard("svix")),
    Vendor(
        "cloudinary",
        secret,
        signature_in("x-cld-signature"),
        payload=lambda event: {"notification_type": "upload", "public_id": event.id, "text": "€😀"},
        covered=(Place("x-cld-timestamp"),),
        tolerance=7200,
        has_identity=False,
    ),
    discord("discord", lambda event: {"id": event.id, "type": 2, "data": {"name": "€😀"}}),
    discord(
        "discord-events",
        lambda event: {"type": 1, "event": {"type": "APPLICATION_AUTHORIZED", "data": {"id": event.id}}},
        has_identity=False,
    ),
    Vendor(
        "elevenlabs",
        secret,
        signature_in("elevenlabs-signature", "v0=(.+)$"),
        sign=lambda event: {
            "elevenlabs-signature": f"t={event.time},v0={event.hmac(event.time, '.', event.body).hex()}"
        },
        verify=lambda key, message: WebhooksClient.construct_event(
            None, message.text, message.headers["elevenlabs-signature"], key.library
        ),
        covered=(Place("elevenlabs-signature", "^t=([0-9]+),"),),
        tolerance=1800,
        has_identity=False,
    ),
    Vendor("github", secret, signature_in("x-hub-signature-256", "^sha256=(.+)$")),
    Vendor(
        "gocardless",
        secret,
        payload=lambda event: {"events": [{"id": event.id, "action": "paid_out"}], "meta": {"webhook_id": "WB1"}},
        **of_body("webhook-signature"),
    ),
    Vendor(
        "google-pubsub",
        rsa_key,
        payload=lambda event: {"message": {"data": "e30=", "messageId": event.id}, "subscription": "s"},
        covers_body=False,
        source={
            "sender": {"like": "google-pubsub", "jwt": {"claims": {"email": "push@a.iam.gserviceaccount.com"}}},
            "audience": AUDIENCE,
        },
        **of_token("authorization", lambda event: f"Bearer {token(event, google_claims(event), 'RS256')}"),
    ),
    Vendor(
        "hubspot",
        secret,
        signature_in("x-hubspot-signature-v3", encoding=BASE64),
        payload=lambda event: [{"eventId": event.id, "subscriptionType": "contact.creation", "text": "€😀"}],
        covered=(Place("x-hubspot-request-timestamp"), URL),
        tolerance=300,
        has_identity=False,
    ),
    Vendor(
        "line",
        secret,
        payload=lambda event: {"destination": "U", "events": [{"type": "message", "webhookEventId": event.id}]},
        has_identity=False,
        **of_body("x-line-signature", to_base64),
    ),
    Vendor(
        "linear",
        secret,
        signature_in("linear-signature"),
        payload=lambda event: {"type": "Issue", "data": "€😀", "webhookTimestamp": event.time * 1000},
        sign=lambda event: {
            "linear-delivery": event.id,
            "linear-event": "Issue",
            "linear-signature": event.hmac(event.body).hex(),
        },
        tolerance=28800,
    ),
    Vendor(
        "livekit",
        secret,
        payload=lambda event: {"event": "room_started", "id": event.id, "room": {"name": "€😀"}},
        content_type="application/webhook+json",
        source={"issuer": API_KEY},
        **of_token("authorization", None),
    ),
    Vendor(
        "messagebird",
        secret,
        **of_token("messagebird-signature-jwt", lambda event: token(event, messagebird_claims(event))),
    ),
    Vendor(
        "metronome",
        secret,
        signature_in("metronome-webhook-signature"),
        covered=(Place("x-metronome-date", r"(\d) GMT$"),),
        tolerance=300,
    ),
    Vendor(
        "mux",
        secret,
        signature_in("mux-signature", ",v1=(.+)$"),
        sign=lambda event: {"mux-signature": f"t={event.time},v1={event.hmac(event.time, '.', event.body).hex()}"},
        covered=(Place("mux-signature", "^t=([0-9]+),"),),
        tolerance=300,
    ),
    Vendor("notion", secret, signature_in("x-notion-signature", "^sha256=(.+)$")),
    Vendor(
        "onfido",
        secret,
        payload=lambda event: {"payload": {"action": "check.completed", "object": {"id": event.id, "text": "€😀"}}},
        has_identity=False,
        **of_body("x-sha2-signature"),
    ),
    Vendor("openai", whsec, **standard("webhook")),
    Vendor(
        "orb",
        secret,
        signature_in("x-orb-signature", "^v1=(.+)$"),
        covered=(Place("x-orb-timestamp", r"(\d)Z$"),),
        tolerance=300,
        has_identity=False,
    ),
    Vendor(
        "paddle",
        secret,
        signature_in("paddle-signature", ";h1=(.+)$"),
        payload=lambda event: {"event_id": event.id, "event_type": "transaction.completed", "text": "€😀"},
        sign=lambda event: {"paddle-signature": f"ts={event.time};h1={event.hmac(event.time, ':', event.body).hex()}"},
        covered=(Place("paddle-signature", "^ts=([0-9]+);"),),
        tolerance=60,
    ),
    Vendor(
        "polar",
        secret,
        payload=lambda event: {"type": "order.created", "data": {"id": event.id, "text": "€😀"}},
        **standard("webhook"),
    ),
    Vendor(
        "pusher",
        secret,
        signature_in("x-pusher-signature"),
        payload=lambda event: {"time_ms": 1795780800000, "events": [{"name": "channel_vacated", "channel": event.id}]},
        has_identity=False,
    ),
    Vendor(
        "qstash",
        secret,
        **of_token("upstash-signature", lambda event: token(event, qstash_claims(event)), "upstash-message-id"),
    ),
    Vendor(
        "razorpay",
        secret,
        signature_in("x-razorpay-signature"),
        sign=lambda event: {
            "x-razorpay-event-id": event.id,
            "x-razorpay-signature": event.hmac(event.body).hex(),
        },
    ),
    Vendor("replicate", whsec, **standard("webhook")),
    Vendor("resend", whsec, **standard("svix")),
    Vendor(
        "retell",
        secret,
        signature_in("x-retell-signature", ",d=(.+)$"),
        payload=lambda event: {"event": "call_ended", "call": {"call_id": event.id, "text": "€😀"}},
        covered=(Place("x-retell-signature", "^v=([0-9]+),"),),
        tolerance=300,
        has_identity=False,
    ),
    Vendor(
        "sanity",
        secret,
        signature_in("sanity-webhook-signature", ",v1=(.+)$", BASE64URL),
        covered=(Place("sanity-webhook-signature", "^t=([0-9]+),"),),
        tolerance=300,
    ),
    Vendor(
        "sendgrid",
        ecdsa_key,
        signature_in("x-twilio-email-event-webhook-signature", encoding=BASE64),
        payload=lambda event: [{"email": "a@example.com", "event": "delivered", "sg_event_id": event.id}],
        sign=sendgrid_headers,
        covered=(Place("x-twilio-email-event-webhook-timestamp"),),
        tolerance=86400,
    ),
    shopify("shopify", "x-shopify"),
    shopify("shopify-events", "shopify"),
    Vendor(
        "slack",
        secret,
        signature_in("x-slack-signature", "^v0=(.+)$"),
        payload=lambda event: {"type": "event_callback", "event_id": event.id, "event": {"text": "€😀"}},
        sign=slack_headers,
        verify=slack_accepts,
        covered=(Place("x-slack-request-timestamp"),),
        tolerance=300,
    ),
    Vendor(
        "square",
        secret,
        signature_in("x-square-hmacsha256-signature", encoding=BASE64),
        payload=lambda event: {"event_id": event.id, "type": "payment.created", "data": {"text": "€😀"}},
        sign=lambda event: {"x-square-hmacsha256-signature": to_base64(event.hmac(event.url, event.body))},
        verify=square_accepts,
        covered=(URL,),
    ),
    Vendor(
        "standard-webhooks",
        whsec,
        **standard("webhook") | {"sign": standard_headers},
        verify=lambda key, message: Webhook(key.library).verify(message.text, message.headers),
    ),
    Vendor(
        "stripe",
        whsec,
        signature_in("stripe-signature", ",v1=(.+)$"),
        sign=stripe_headers,
        verify=stripe_accepts,
        covered=(Place("stripe-signature", "^t=([0-9]+),"),),
        tolerance=300,
    ),
    Vendor("svix", whsec, **standard("svix") | {"sign": None}),
    Vendor(
        "telnyx",
        ed25519_key(to_base64),
        payload=lambda event: {"data": {"id": event.id, "event_type": "call.initiated", "text": "€😀"}},
        tolerance=300,
        **ed25519_signed("telnyx-signature-ed25519", "telnyx-timestamp", "|", to_base64),
    ),
    Vendor(
        "twilio",
        secret,
        signature_in("x-twilio-signature", encoding=BASE64),
        payload=lambda event: {"CallSid": event.id, "Digits": "1", "Body": "a b & c=€😀", "Empty": ""},
        sign=twilio_headers,
        verify=twilio_accepts,
        covered=(URL,),
        content_type=FORM,
    ),
    Vendor(
        "vonage",
        secret,
        payload=lambda event: {"status": "answered", "uuid": event.id},
        **of_token("authorization", lambda event: f"Bearer {token(event, vonage_claims(event))}") | {"lifetime": None},
    ),
    Vendor(
        "workos",
        secret,
        signature_in("workos-signature", ", v1=(.+)$"),
        payload=lambda event: {"id": event.id, "event": "user.created", "data": {"text": "€😀"}},
        covered=(Place("workos-signature", "^t=([0-9]+),"),),
        tolerance=180,
    ),
    Vendor(
        "zoom",
        secret,
        signature_in("x-zm-signature", "^v0=(.+)$"),
        payload=lambda event: {"event": "meeting.started", "event_ts": 1795780800000, "payload": {"uuid": event.id}},
        sign=lambda event: {
            "x-zm-request-timestamp": str(event.time),
            "x-zm-signature": "v0=" + event.hmac("v0:", event.time, ":", event.body).hex(),
        },
        covered=(Place("x-zm-request-timestamp"),),
        tolerance=300,
    ),
]


class Libraries:
    """The vendors' libraries. Those for JavaScript run in one process, from the directory of its packages."""

    def __init__(self):
        script = (DIRECTORY / "vendors.mjs").read_text()
        self.node = subprocess.Popen(
            ["node", "--input-type=module", "--eval", script],
            # Node resolves packages from this directory.
            cwd=pathlib.Path(os.environ["SLUICE_NODE_MODULES"]).parent,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.node.stdin.close()
        self.node.wait(timeout=30)

    def ask(self, action: str, vendor: Vendor, key: str, body: bytes, **more) -> dict:
        question = {"do": action, "vendor": vendor.name, "secret": key, "body": to_base64(body), **more}
        self.node.stdin.write(json.dumps(question) + "\n")
        self.node.stdin.flush()
        return json.loads(self.node.stdout.readline())

    def message(self, vendor: Vendor, event: Event) -> Message:
        """The request by which the vendor delivers the event."""
        payload = vendor.payload(event)
        body = urllib.parse.urlencode(payload).encode() if vendor.content_type == FORM else compact(payload)
        event = replace(event, body=body)
        if vendor.sign:
            headers = vendor.sign(event)
        else:
            parts = {"time": event.time, "id": event.id, "url": event.url}
            headers = self.ask("sign", vendor, event.key.receiver, body, **parts)["headers"]
        return Message(event.url, {"content-type": vendor.content_type, **headers}, body)

    def accepts(self, vendor: Vendor, key: Key, message: Message) -> bool:
        """Whether the vendor's library accepts the request."""
        if not vendor.verify:
            request = {"headers": message.headers, "url": message.url}
            return self.ask("verify", vendor, key.library, message.body, **request)["valid"]
        try:
            return vendor.verify(key, message) is not False
        except Exception:
            return False
