"""What OpenAPI has no words for, so that Schemathesis doesn't take it for a fault. Each request is sent and each answer
checked all the same; only the verdict that the request should have been taken, or refused, is left out."""

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, MalformedJson
from schemathesis.openapi.checks import MissingContentType, RejectedPositiveData

# The headers of a binary event: all or none of them.
EVENT = {"ce-specversion", "ce-id", "ce-source", "ce-type"}


def event_headers(case) -> set:
    return EVENT & {name.lower() for name in case.headers or {}}


@schemathesis.hook
def filter_case(context, case) -> bool:
    # Spin itself answers bytes that aren't UTF-8 with 500, before Sluice sees them.
    return all(str(value).isascii() for value in (case.headers or {}).values())


@schemathesis.hook
def map_case(context, case):
    if case.meta and case.meta.generation.mode.is_positive and event_headers(case) != EVENT:
        for name in event_headers(case):
            del case.headers[name]
    return case


@schemathesis.hook
def filter_failure(context, failure, case, response) -> bool:
    # An answer without a body has no content type: some senders want it so, and HEAD does.
    if isinstance(failure, (MissingContentType, MalformedJson)):
        return response.content != b""
    refused = isinstance(failure, RejectedPositiveData)
    if refused or isinstance(failure, AcceptedNegativeData):
        return not (of_no_sender(case) or has_float(case) or is_half_binary(case, refused))
    return True


def of_no_sender(case) -> bool:
    """A form is taken of a sender that is known."""
    sender = (case.query or {}).get("sender")
    return case.media_type == "application/x-www-form-urlencoded" and sender in (None, "custom")


def has_float(case) -> bool:
    """JSON Schema takes 1.0 for an integer; CloudEvents and Sluice don't."""
    objects = case.body if isinstance(case.body, list) else [case.body]
    return any(isinstance(it, float) for some in objects if isinstance(some, dict) for it in some.values())


def is_half_binary(case, refused: bool) -> bool:
    """Who has some of the headers, or text without them, may be refused; who has all is looked at for them only."""
    headers = event_headers(case)
    if headers == EVENT:
        return not refused
    return bool(headers) or case.media_type == "text/plain"
