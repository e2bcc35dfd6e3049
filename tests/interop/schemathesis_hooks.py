"""Rules of the API that OpenAPI can't express.

Without these hooks, Schemathesis would report responses that follow the rules as failures. Every request is still sent
and every response checked. Only failures of the kind "should have been accepted" or "should have been rejected" are
filtered out, and the lack of a content type where there is no body.
"""

import time
from urllib.parse import urljoin

import requests
import schemathesis
from openapi_examples import DOCUMENT
from schemathesis.core.failures import AcceptedNegativeData, MalformedJson
from schemathesis.openapi.checks import MissingContentType, RejectedPositiveData, UseAfterFree

SENDERS = DOCUMENT["components"]["parameters"]["source"]["schema"]["anyOf"][0]["enum"]
# The required headers of a binary event: either all of them or none.
EVENT = {"ce-specversion", "ce-id", "ce-source", "ce-type"}


def event_headers(case) -> set:
    return EVENT & {name.lower() for name in case.headers or {}}


@schemathesis.hook
def filter_case(context, case) -> bool:
    # Spin itself responds with a 500 to headers that aren't UTF-8, before Sluice sees the request.
    return all(str(value).isascii() for value in (case.headers or {}).values())


@schemathesis.hook
def map_case(context, case):
    if case.meta and case.meta.generation.mode.is_positive and event_headers(case) != EVENT:
        for name in event_headers(case):
            del case.headers[name]
    return case


@schemathesis.hook
def filter_failure(context, failure, case, response) -> bool:
    # A response without a body has no content type. Some senders, and HEAD, require an empty body.
    if isinstance(failure, (MissingContentType, MalformedJson)):
        return response.content != b""
    # A deletion during an attempt is a 202, and a drain deletes the delivery once that attempt has ended.
    if isinstance(failure, UseAfterFree):
        return is_never_deleted(response.request)
    was_rejected = isinstance(failure, RejectedPositiveData)
    # A GET of this path that asks no question of a sender is a 405.
    if was_rejected and (case.method, case.path) == ("GET", "/api/v2/webhook"):
        return False
    # The headers of a preflight request belong together: without one of them, OPTIONS is a 405.
    if (was_rejected or isinstance(failure, AcceptedNegativeData)) and case.method == "OPTIONS":
        return False
    if was_rejected or isinstance(failure, AcceptedNegativeData):
        return not (is_form_without_sender(case) or is_unknown_source(case) or has_float(case) or is_partly_binary(case, was_rejected))
    return True


def is_never_deleted(request) -> bool:
    """Whether the resource is still there after a minute of drains."""
    drain = urljoin(request.url, "/api/v2/deliveries/drain")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        requests.post(drain, headers={"authorization": "Bearer op3rator"}, timeout=30).raise_for_status()
        if requests.get(request.url, headers=request.headers, timeout=30).status_code == 404:
            return False
        time.sleep(0.5)
    return True


def is_form_without_sender(case) -> bool:
    """Forms are accepted from the senders that post them only."""
    return case.media_type == "application/x-www-form-urlencoded"


def is_unknown_source(case) -> bool:
    """The host of this test has no sources: only the names of senders are known."""
    source = (case.query or {}).get("source")
    return source is not None and source not in SENDERS


def has_float(case) -> bool:
    """1.0 is an integer in JSON Schema, but not in CloudEvents and Sluice."""
    events = case.body if isinstance(case.body, list) else [case.body]
    return any(isinstance(value, float) for event in events if isinstance(event, dict) for value in event.values())


def is_partly_binary(case, was_rejected: bool) -> bool:
    """Whether the `ce-` headers explain the result. With some of them, or with plain text and none of them, a rejection
    is right. With all of them, the schema of the body doesn't apply, so an acceptance is right."""
    headers = event_headers(case)
    if headers == EVENT:
        return not was_rejected
    return bool(headers) or case.media_type == "text/plain"
