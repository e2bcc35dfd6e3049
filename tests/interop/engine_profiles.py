"""Engine profiles, their JSON Schema, and what the component says of a profile at /readyz."""

import copy
import json
import os
import re
import subprocess
import tempfile

import jsonschema
import requests

from conftest import ROOT

SCHEMA = json.loads((ROOT / "docs/engines/profile.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# A value of each form of a constant.
CONSTANTS = {
    "path": "/base", "segment": "acme", "segments": ["acme"], "text": "some text", "url": "https://ui.example.com",
    "number": 72,
}


def shipped() -> dict:
    """The built-in profiles by the names of their files."""
    files = sorted((ROOT / "src/engine/profiles").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def at(document, pointer: str):
    """The value at a JSON Pointer."""
    for step in steps(pointer):
        document = document[int(step) if isinstance(document, list) else step]
    return document


def steps(pointer: str) -> list:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def child(pointer: str, step) -> str:
    return f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"


def changed(document, changes: dict):
    """A copy with other values at these pointers. The value `...` removes a member."""
    copied = copy.deepcopy(document)
    for pointer, value in changes.items():
        parent, _, name = pointer.rpartition("/")
        target, name = at(copied, parent), steps("/" + name)[0]
        if value is ...:
            del target[name]
        else:
            target[int(name) if isinstance(target, list) else name] = value
    return copied


def required_constants(profile) -> dict:
    """A value for each constant that the profile requires; none if its constants are malformed."""
    settings, required = profile.get("settings"), profile.get("required")
    if not isinstance(settings, dict) or not isinstance(required, list):
        return {}
    forms = {name: form.get("form") if isinstance(form, dict) else form for name, form in settings.items()}
    return {name: CONSTANTS[forms[name]] for name in required if isinstance(name, str) and forms.get(name) in CONSTANTS}


def accepted_bytes(profile) -> int:
    """A value of `max_body_bytes` in `settings` that the engine can take: the default, unless the profile says less."""
    limits = profile.get("limits")
    limit = limits.get("max_body_bytes") if isinstance(limits, dict) else None
    return min(limit, 524288) if isinstance(limit, int) and limit > 0 else 524288


def errors_at_readyz(profile) -> list:
    """The errors of the configuration that the component reports with this profile in `engine`."""
    settings = {"engine": required_constants(profile), "max_body_bytes": accepted_bytes(profile)}
    variables = {
        "engine": json.dumps(profile), "settings": json.dumps(settings), "engine_url": "http://127.0.0.1:9",
        "operator_token": "op3rator",
    }
    command = [
        os.environ.get("SLUICE_HOST_BIN", str(ROOT / "target/debug/sluice-host")),
        "--from", os.environ.get("SLUICE_MANIFEST", str(ROOT / "spin.toml")), "--listen", "127.0.0.1:0",
    ]
    environment = os.environ | {f"SPIN_VARIABLE_{name.upper()}": text for name, text in variables.items()}
    with tempfile.TemporaryDirectory() as state:
        process = subprocess.Popen([*command, "--state-dir", state], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            serving = next((line for line in process.stdout if line.startswith("Serving ")), None)
            assert serving, "the host didn't start"
            answer = requests.get(serving.removeprefix("Serving ").strip() + "/readyz", timeout=30)
        finally:
            process.terminate()
            process.communicate()
    if answer.status_code == 200:
        return []
    body = answer.json()
    assert body["type"].endswith("/configuration"), body
    return body["errors"]


def names(error: dict, member: str) -> bool:
    """Whether an error names a member, alone or as a part of a pointer."""
    return re.search(rf"(?<![a-z_]){re.escape(member)}(?![a-z_])", error["detail"]) is not None
