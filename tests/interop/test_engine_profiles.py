"""docs/engines/profile.schema.json and the component agree about profiles.

The built-in profiles are valid under the schema. Damaged ones are refused by both, and the component names the damaged
member at /readyz: once each member that a built-in profile has is removed, misspelt, and given a value of another type.
"""

import concurrent.futures
import json
import re

import jsonschema
import pytest

from conftest import ROOT
from engine_profiles import SCHEMA, VALIDATOR, at, changed, child, errors_at_readyz, names, shipped

PROFILES = shipped()
PAGE = (ROOT / "docs/engines/README.md").read_text()

# Objects whose members the author of a profile names.
MAPS = re.compile(r"/settings|(.*/)?(headers|query)|.*/body(/.*)?")

# Members that others refer to: without them, the schema finds nothing wrong, and the component a name that nothing
# defines.
REFERRED_TO = {"/settings", "/required", "/workflow", "/run_names", "/scope"}

# Damages of `flow`: the members that change (`...`: removed), and the member that the error has to name.
DAMAGES = {
    "name in upper case": ({"/name": "Flow"}, "name"),
    "name with a separator": ({"/name": "flow!5"}, "name"),
    "name that is empty": ({"/name": ""}, "name"),
    "title of two lines": ({"/title": "Flow\n4"}, "title"),
    "title that is empty": ({"/title": ""}, "title"),
    "unknown doubt": ({"/doubt": "ask"}, "doubt"),
    "doubt without its find": ({"/find": ...}, "find"),
    "existing run without its find": ({"/doubt": "resend", "/find": ..., "/answers/0/verdict": "existing"}, "find"),
    "unknown form of a constant": ({"/settings/team": "word"}, "team"),
    "unknown form of a constant with a default": ({"/settings/team": {"form": "word", "default": "a"}}, "team"),
    "default of another type": ({"/settings/team": {"form": "segment", "default": 5}}, "team"),
    "default of an array": ({"/settings/teams": {"form": "segments", "default": "a"}}, "teams"),
    "constant without a form": ({"/settings/team": {"default": "a"}}, "team"),
    "constant that can't be a hole": ({"/settings/the-team": "text"}, "the-team"),
    "default of a number that isn't one": ({"/settings/days": {"form": "number", "default": "two"}}, "days"),
    "default of a URL that isn't one": ({"/settings/ui_url": {"form": "url", "default": "engine"}}, "ui_url"),
    "scope of one constant": ({"/scope/more": ...}, "more"),
    "two kinds of auth": ({"/auth": {"basic": True, "query": "key"}}, "auth"),
    "no kind of auth": ({"/auth": {}}, "auth"),
    "auth by Basic, or not": ({"/auth": {"basic": False}}, "basic"),
    "prefix without a header": ({"/auth": {"prefix": "token "}}, "auth"),
    "header of auth with a blank": ({"/auth": {"header": "x key"}}, "header"),
    "login without a lifetime": ({"/auth": {"login": {"request": {"method": "POST", "path": "/l"}, "token": "/t"}}},
                                 "lifetime_seconds"),
    "header with a blank": ({"/headers": {"x y": "z"}}, "headers"),
    "reference without the workflow": ({"/workflow": ["dag"]}, "workflow"),
    "reference with the workflow in front": ({"/workflow": ["workflow", "dag"]}, "workflow"),
    "reference with a name twice": ({"/workflow": ["a", "a", "workflow"]}, "workflow"),
    "run without a name": ({"/run_names": []}, "run_names"),
    "run with a name twice": ({"/run_names": ["run", "run"]}, "run_names"),
    "unknown form of a mark": ({"/mark": {"form": "hex"}}, "form"),
    "prefix of a mark with a blank": ({"/mark": {"prefix": "a b"}}, "prefix"),
    "limit of nothing": ({"/limits/max_body_bytes": 0}, "max_body_bytes"),
    "limit that isn't whole": ({"/limits/max_body_bytes": 0.5}, "max_body_bytes"),
    "limit as a text": ({"/limits/retention_hours": "24"}, "retention_hours"),
    "unknown limit": ({"/limits/path_bytes": 200}, "path_bytes"),
    "unknown method": ({"/start/request/method": "FETCH"}, "method"),
    "path without a slash": ({"/start/request/path": "api/{workflow}"}, "path"),
    "path with a query": ({"/start/request/path": "/api/{workflow}?start=true"}, "path"),
    "path whose hole isn't closed": ({"/start/request/path": "/api/{workflow"}, "path"),
    "path with a brace too many": ({"/start/request/path": "/api/{workflow}}"}, "path"),
    "path with an empty hole": ({"/start/request/path": "/api/{}/{workflow}"}, "path"),
    "query whose hole isn't closed": ({"/start/request/query": {"start": "{start"}}, "query"),
    "query with a number": ({"/start/request/query": {"limit": 20}}, "query"),
    "header whose hole isn't closed": ({"/start/request/headers": {"x-mark": "{mark"}}, "headers"),
    "hole with another member": ({"/start/request/body/params": {"$": "params", "to": "text"}}, "body"),
    "unknown filter": ({"/start/request/body/params": {"$": "params", "as": "hex"}}, "body"),
    "hole without a name": ({"/start/request/body/params": {"$": ""}}, "body"),
    "text whose hole isn't closed": ({"/start/request/body/params": {"$text": "{mark"}}, "body"),
    "text with another member": ({"/start/request/body/params": {"$text": "{mark}", "as": "lower"}}, "body"),
    "unknown form of a body": ({"/start/request/form": "xml"}, "form"),
    "raw body that is no hole": ({"/start/request/form": "raw"}, "body"),
    "raw body that is missing": ({"/start/request/form": "raw", "/start/request/body": ...}, "body"),
    "form with an object in it": ({"/start/request/form": "urlencoded", "/start/request/body": {"a": {"b": "c"}}}, "body"),
    "CloudEvent with a body": ({"/start/request/form": "cloudevent"}, "body"),
    "unknown proof": ({"/start/proof": "workflow"}, "proof"),
    "proof of two kinds": ({"/start/proof": {"at": "/id", "header": "location"}}, "proof"),
    "proof of no kind": ({"/start/proof": {}}, "proof"),
    "proof whose pointer has no slash": ({"/start/proof": {"at": "id"}}, "proof"),
    "proof by text as an object": ({"/start/proof": {"text": True}}, "proof"),
    "run as a proof without its places": ({"/run": ...}, "run"),
    "run as a proof without a state": ({"/run/states": []}, "run"),
    "reference whose hole isn't closed": ({"/start/reference": "{workflow}!{proof"}, "reference"),
    "list of runs without a label": ({"/find/label": ...}, "find"),
    "both a list of runs and a proof": ({"/find/proof": "run"}, "find"),
    "neither a list of runs nor a proof": ({"/find/list": ..., "/find/label": ...}, "find"),
    "pointer without a slash": ({"/run/id": "id"}, "id"),
    "pointer with a bad escape": ({"/run/id": "/a~2"}, "id"),
    "pointer to the whole": ({"/error_code": ""}, "error_code"),
    "unknown state of a run": ({"/run/states/0/state": "running"}, "state"),
    "unknown state of a task": ({"/tasks/states/0/state": "done"}, "state"),
    "topic of two forms": ({"/tasks/topic/at": "/name"}, "topic"),
    "both tasks and wait": ({"/wait": [{"when": [{"at": "/a", "present": True}], "state": "waiting"}]}, "wait"),
    "neither tasks nor wait": ({"/tasks": ...}, "tasks"),
    "resume without a look": ({"/look": ...}, "look"),
    "look without a request": ({"/look": {}}, "look"),
    "resume with a look at the run only": (
        {"/look": {"run": {"method": "GET", "path": "/runs/{run}"}}}, "request"
    ),
    "unknown confirmation": ({"/resume/confirm": "maybe"}, "confirm"),
    "no status": ({"/resume/statuses": []}, "statuses"),
    "status in the spelling of senders": ({"/resume/statuses": ["Succeeded"]}, "statuses"),
    "unknown verdict": ({"/answers/0/verdict": "again"}, "verdict"),
    "rule without a verdict": ({"/answers/0/verdict": ...}, "verdict"),
    "rule without a status": ({"/answers/0/status": ...}, "status"),
    "status of letters": ({"/answers/0/status": "4xx"}, "status"),
    "range without an end": ({"/answers/0/status": "400-"}, "status"),
    "status with a blank": ({"/answers/0/status": "400, 404"}, "status"),
    "unknown operation": ({"/answers/0/operations": ["stop"]}, "operations"),
    "place without a text": ({"/answers/1/equals": ...}, "equals"),
    "text without a place": ({"/answers/1/at": ...}, "at"),
    "concluded, but not unclear": ({"/answers/0/concluded": True}, "concluded"),
    "place in a rule without a slash": ({"/answers/0/lacks": ["instance"]}, "lacks"),
    "condition without a comparison": ({"/answers/0/when": [{"at": "/a"}]}, "when"),
    "condition with two comparisons": ({"/answers/0/when": [{"at": "/a", "equals": "b", "prefix": "c"}]}, "when"),
    "time that isn't a number": ({"/answers/0/when": [{"at": "/a", "older_ms": "5 s"}]}, "older_ms"),
    "condition without a place": ({"/answers/0/when": [{"equals": "b"}]}, "when"),
    "absent, or not": ({"/answers/0/when": [{"at": "/a", "absent": False}]}, "when"),
    "page whose hole isn't closed": ({"/page": "{ui_url"}, "page"),
    "answer of another": ({"/answer": "theirs"}, "answer"),
}


def members(profile, pointer="") -> list:
    """The pointers to all members that the form names."""
    value = at(profile, pointer)
    if isinstance(value, list):
        return [found for index in range(len(value)) for found in members(profile, child(pointer, index))]
    if not isinstance(value, dict) or MAPS.fullmatch(pointer):
        return []
    found = [child(pointer, name) for name in value]
    return found + [inner for own in found for inner in members(profile, own)]


def other_type(value):
    """A value of a type that no member takes where it takes this one."""
    return 7 if isinstance(value, (str, dict, list, bool)) else "seven"


def damages() -> dict:
    """Each kind of damage of each member of the form, on the first built-in profile that has the member."""
    found = {}
    for name, profile in PROFILES.items():
        for pointer in members(profile):
            member, general = pointer.rpartition("/")[2], re.sub(r"/\d+(?=/|$)", "", pointer)
            value = at(profile, pointer)
            for kind, changes in {
                "removed": {pointer: ...},
                "misspelt": {f"{pointer}x": value, pointer: ...},
                "of another type": {pointer: other_type(value)},
            }.items():
                found.setdefault((general, kind), (name, member, changed(profile, changes)))
    return found


def test_schema_is_strict_and_explains_each_member():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    loose = []

    def visit(schema, pointer):
        if isinstance(schema, list):
            for index, item in enumerate(schema):
                visit(item, child(pointer, index))
        if not isinstance(schema, dict):
            return
        properties = schema.get("properties", {}) if schema.get("type") == "object" else {}
        loose.extend(child(pointer, name) for name, member in properties.items() if "description" not in member)
        is_condition = pointer.endswith("/if")
        if schema.get("type") == "object" and "additionalProperties" not in schema and not is_condition:
            loose.append(pointer)
        for keyword, value in schema.items():
            visit(value, child(pointer, keyword))

    visit(SCHEMA, "")
    assert loose == []


@pytest.mark.parametrize("name", PROFILES)
def test_built_in_profile_follows_the_schema(name):
    errors = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(PROFILES[name])]
    assert errors == [] and PROFILES[name]["name"] == name


@pytest.mark.parametrize("name", PROFILES)
def test_built_in_profile_is_accepted_as_json(name):
    assert errors_at_readyz(PROFILES[name]) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_profile_is_refused_by_the_schema(damage):
    changes, _ = DAMAGES[damage]
    assert not VALIDATOR.is_valid(changed(PROFILES["flow"], changes))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_profile_is_refused_by_sluice_with_the_member(damage):
    changes, member = DAMAGES[damage]
    errors = errors_at_readyz(changed(PROFILES["flow"], changes))
    assert any(error["field"] == "engine" and names(error, member) for error in errors), errors


def test_schema_and_sluice_agree_on_each_member():
    cases = damages()
    assert len(cases) > 150, len(cases)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = dict(zip(cases, pool.map(lambda case: errors_at_readyz(case[2]), cases.values())))
    disagreements = []
    for (general, kind), (name, member, damaged) in cases.items():
        errors, is_valid = answers[general, kind], VALIDATOR.is_valid(damaged)
        what = f"{name}: {general} {kind}: "
        if is_valid and errors and general not in REFERRED_TO:
            disagreements.append(what + f"the schema accepts it, Sluice doesn't: {json.dumps(errors)}")
        elif not is_valid and not errors:
            disagreements.append(what + "Sluice accepts it, the schema doesn't")
        elif not is_valid and not any(error["field"] == "engine" and names(error, member) for error in errors):
            disagreements.append(what + f"Sluice doesn't name it: {json.dumps(errors)}")
    assert disagreements == [], "\n".join(disagreements)


@pytest.mark.parametrize("name", PROFILES)
def test_page_says_what_a_profile_can_do(name):
    profile = PROFILES[name]
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| [`{name}`]({name.removesuffix('-2')}.md)")]
    assert ("none: 501" in row) == ("resume" not in profile), row
    doubts = [line for line in PAGE.splitlines() if line.startswith(f"| `{profile['doubt']}` |")]
    assert any(f"`{name}`" in line for line in doubts), doubts


def test_each_member_of_the_schema_is_documented():
    missing = set()

    def visit(schema):
        if isinstance(schema, list):
            for item in schema:
                visit(item)
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                missing.update(name for name in schema.get("properties", {}) if not re.search(rf"`\"?{re.escape(name)}\b", PAGE)
                               and f'"{name}"' not in PAGE)
            for value in schema.values():
                visit(value)

    visit(SCHEMA)
    assert missing == set()
