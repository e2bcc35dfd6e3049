"""`cargo xtask release`, and the script with which a release is tested on Spin."""

import hashlib
import json
import os
import pathlib
import subprocess
import tomllib

import pytest
from conftest import ROOT, free_port
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

REPOSITORY = "https://github.com/acme/sluice"


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> pathlib.Path:
    out = tmp_path_factory.mktemp("dist")
    release = [os.environ["SLUICE_XTASK"], "release", "--out", out, "--repository", REPOSITORY]
    subprocess.run(release, check=True, cwd=ROOT)
    return out


def sbom(dist) -> dict:
    return json.loads((dist / "sluice.cdx.json").read_text())


def test_checksums_cover_all_files(dist):
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], check=True, cwd=dist)
    listed = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert listed == {file.name for file in dist.iterdir()} - {"SHA256SUMS", "install.md"}


def test_manifest_has_url_and_digest_of_the_component(dist):
    manifest = tomllib.loads((dist / "spin.toml").read_text())
    version = manifest["application"]["version"]
    digest = hashlib.sha256((dist / "sluice.wasm").read_bytes()).hexdigest()
    assert manifest["component"]["sluice"]["source"] == {
        "url": f"{REPOSITORY}/releases/download/v{version}/sluice.wasm",
        "digest": f"sha256:{digest}",
    }


def test_component_has_no_path_of_this_machine(dist):
    component = (dist / "sluice.wasm").read_bytes()
    homes = [os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"), ROOT]
    assert [home for home in homes if os.fsencode(home) in component] == []


def test_sbom_is_valid_cyclonedx(dist):
    text = (dist / "sluice.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    # The validator finds what the schema doesn't know.
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"purl"', '"purrl"')) is not None


def test_sbom_lists_the_crates_of_the_component(dist):
    document = sbom(dist)
    names = {component["name"] for component in document["components"]}
    assert {"serde_json", "spin-sdk", "p256", "rust-std"} <= names
    # A procedural macro, a build dependency, a dependency of the tests, and one of the host.
    assert not {"serde_derive", "yaml_serde", "proptest", "wasmtime"} & names
    for component in document["components"]:
        assert component["version"] and component["purl"] and component["licenses"], component
    references = {component["bom-ref"] for component in document["components"]}
    depended_on = {reference for entry in document["dependencies"] for reference in entry["dependsOn"]}
    assert depended_on == references
    [digest] = document["metadata"]["component"]["hashes"]
    assert digest["content"] == hashlib.sha256((dist / "sluice.wasm").read_bytes()).hexdigest()


@pytest.mark.parametrize("keeps_state", [True, False])
def test_restart_script_tells_whether_a_delivery_outlives_a_restart(tmp_path, keeps_state):
    port = free_port()
    listen = [os.environ["SLUICE_HOST_BIN"], "--from", "spin.toml", "--listen", f"127.0.0.1:{port}", "--state-dir"]
    if keeps_state:
        command = [*listen, tmp_path]
    else:
        # As with a store in memory: each start has a directory of its own.
        command = ["sh", "-c", f'exec "$@" "$(mktemp -d -p {tmp_path})"', "sh", *listen]
    script = ["sh", ".github/scripts/restart.sh", *command]
    result = subprocess.run(
        script, cwd=ROOT, env=os.environ | {"SLUICE_URL": f"http://127.0.0.1:{port}"}, capture_output=True, text=True
    )
    assert (result.returncode == 0) == keeps_state, result
    assert ("the delivery is lost" in result.stderr) != keeps_state, result
