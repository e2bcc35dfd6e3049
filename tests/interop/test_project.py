"""The forge's configuration in .github, against the schemas that check-jsonschema ships."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

SCHEMAS = {
    "dependabot.yml": "vendor.dependabot",
    "ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "ISSUE_TEMPLATE": "vendor.github-issue-forms",
    "workflows": "vendor.github-workflows",
}
FILES = sorted(str(file.relative_to(ROOT / ".github")) for file in (ROOT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("file", FILES)
def test_file_matches_its_schema(file):
    schema = SCHEMAS.get(file) or SCHEMAS[file.split("/")[0]]
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, ROOT / ".github" / file]
    subprocess.run(check, check=True)


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("workflows/")])
def test_workflow_pins_its_actions_and_names_its_permissions(file):
    text = (ROOT / ".github" / file).read_text()
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+(/[\w-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_dependabot_knows_every_manifest():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    folders = {update["package-ecosystem"]: update.get("directories") for update in updates}
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = git.stdout.splitlines()
    manifests = {"cargo": "Cargo.lock", "npm": "package-lock.json", "pip": "requirements.txt"}
    for ecosystem, name in manifests.items():
        here = {"/" + file[: -len(name)].rstrip("/") for file in listed if file.split("/")[-1] == name}
        assert set(folders[ecosystem]) == here, ecosystem
