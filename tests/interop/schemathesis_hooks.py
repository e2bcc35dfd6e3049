"""What OpenAPI has no words for, so that Schemathesis doesn't take it for a fault. Each request is sent and each answer
checked all the same; only the verdict that the request should have been taken, or refused, is left out."""

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, MalformedJson
from schemathesis.openapi.checks import MissingContentType, RejectedPositiveData

# The headers of a binary event: all or none of them, and beside a structured content type they are not looked at. Text is
# taken with them only.
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
    if isinstance(failure, (RejectedPositiveData, AcceptedNegativeData)):
        # A form is taken of a sender that is known.
        form = case.media_type == "application/x-www-form-urlencoded"
        unknown = form and (case.query or {}).get("sender") in (None, "custom")
        # JSON Schema takes 1.0 for an integer; CloudEvents and Sluice don't.
        objects = case.body if isinstance(case.body, list) else [case.body]
        floats = any(isinstance(it, float) for some in objects if isinstance(some, dict) for it in some.values())
        return not (unknown or floats or event_headers(case) or case.media_type == "text/plain")
    return True
