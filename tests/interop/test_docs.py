"""The commands of the README and the docs print the output that these show.

The info string of a fenced block tells how the block is tested:

    sh up         starts Sluice with the variables of its `cargo xtask up`, on free ports
    sh            runs with bash in the repository's root; variables and functions exist until the end of the page
    sh elsewhere  isn't run, because it needs something that isn't available here: see ELSEWHERE
    text          the output of the preceding `sh` block
    text log      lines that the log contains by then

In the shown output, `…` matches any text within its line, or any lines if it is alone on a line. A time or an id
matches any other of its kind. Other blocks (json, yaml, html) are for reading only, and must not contain commands.
"""

import collections
import contextlib
import pathlib
import re
import shlex
import subprocess
import textwrap
import time

import pytest
from conftest import ROOT, host

PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(
    r"^(\$ )?(az|cargo|createdb|curl|docker|gh|kubectl|pg_dump|psql|redis-cli|spin|stripe|\./\S+) ", re.MULTILINE
)

# The blocks that aren't run, by page and first words. Those in docs/engines need the engine: tests/engines and
# test_own_engine.py do what they show.
ELSEWHERE = {
    ("README.md", "cargo xtask"): "builds and tests everything",
    ("docs/backups.md", "createdb"): "needs PostgreSQL",
    ("docs/backups.md", "curl"): "needs Sluice on a host",
    ("docs/backups.md", "pg_dump"): "needs PostgreSQL",
    ("docs/guides/event-grid.md", "az eventgrid"): "needs an Azure subscription",
    ("docs/guides/github.md", "gh api"): "needs a repository on GitHub",
    ("docs/guides/knative.md", "kubectl apply"): "needs a cluster with Knative",
    ("docs/guides/stripe.md", "stripe listen"): "needs an account with Stripe",
    ("docs/install.md", "cosign verify"): "needs a release, as test_release.py makes it, on GitHub",
    ("docs/install.md", "gh release"): "needs a release on GitHub",
    ("docs/install.md", "git checkout"): "needs a tag; the workflow of a release runs it",
    ("docs/install.md", "mkdir sluice"): "needs a release on GitHub, and Spin",
    ("docs/install.md", "spin up"): "needs a release in a registry, and Spin",
    ("docs/postgresql.md", "createdb"): "needs PostgreSQL",
    ("docs/postgresql.md", "psql"): "needs PostgreSQL",
    ("docs/postgresql.md", "sh deploy/move.sh"): "needs PostgreSQL",
    ("docs/runbook.md", "operator -X POST"): "needs PostgreSQL",
    ("docs/runbook.md", "redis-cli"): "needs Spin and Redis",
    ("docs/start.md", "cargo xtask"): "builds and tests everything",
}

# Values that differ in each run. Where a page repeats an id, the output must repeat it too.
IDS = {
    "delivery": r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b",
    "key": r"\b[0-9A-V]{52}\b",
    "run": r"\b[0-9a-f]{24}\b",
    "commit": r"\b[0-9a-f]{40}\b",
}
VARYING = IDS | {
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
    "duration": r'(?<="duration_ms":)[\d.]+',
    "lines": r"^…\n",
    "text": "…",
}
MATCHES = VARYING | {"lines": r"(?:.*\n)*", "text": ".*"}
KINDS = re.compile("|".join(f"(?P<{kind}>{expression})" for kind, expression in VARYING.items()), re.MULTILINE)

# A fenced block: its line, the words of its info string, its text, and the blocks with its output.
Block = collections.namedtuple("Block", "line words text outputs")


def blocks(page: str, words=None) -> list:
    """The shell blocks of a page, each with its output blocks. If `words` is given, only the blocks with this info
    string."""
    text = (ROOT / page).read_text()
    found = []
    for match in re.finditer(r"^( *)```([^\n`]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        block = Block(text.count("\n", 0, match.start()) + 1, match[2].split(), textwrap.dedent(match[3]), [])
        if block.words in (["text"], ["text", "log"]):
            found[-1].outputs.append(block)
        elif block.words in (["sh"], ["sh", "up"], ["sh", "elsewhere"]):
            found.append(block)
        else:
            assert not COMMAND.search(block.text), f"{page}:{block.line} contains a command, but isn't marked `sh`"
    return [block for block in found if words in (None, block.words)]


def matches(shown: str, printed: str, known: dict) -> bool:
    """Whether the printed output matches the shown one. Maps the page's ids to the actual ones in `known`."""
    names = {}

    def pattern(found: re.Match) -> str:
        text, kind = found[0], found.lastgroup
        if kind not in IDS:
            return MATCHES[kind]
        if text in known:
            return re.escape(known[text])
        if text in names:
            return f"(?P={names[text]})"
        names[text] = f"id{len(names)}"
        return f"(?P<{names[text]}>{MATCHES[kind]})"

    shown, expression, end = shown.rstrip("\n") + "\n", "", 0
    for found in KINDS.finditer(shown):
        expression += re.escape(shown[end : found.start()]) + pattern(found)
        end = found.end()
    # Trailing white space is ignored, because lines of HTTP end in CR LF.
    printed = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    matched = re.fullmatch(expression + re.escape(shown[end:]), printed)
    known.update({text: matched[name] for text, name in names.items()} if matched else {})
    return matched is not None


class Terminal:
    """The shell of a page, and the last Sluice that the page has started."""

    def __init__(self, page: str, make_data, scratch: pathlib.Path):
        self.page, self.make_data, self.scratch = page, make_data, scratch
        # The exported variables and functions of the shell.
        self.environment = scratch / "environment"
        self.environment.touch()
        # `places` maps documented addresses and paths to actual ones, `known` documented ids.
        self.running, self.places, self.known = contextlib.ExitStack(), {}, {}

    def up(self, block: Block):
        """Starts Sluice with the variables of a `cargo xtask up`."""
        arguments = iter(shlex.split(block.text.replace("\\\n", " ")))
        assert [next(arguments) for _ in range(3)] == ["cargo", "xtask", "up"], block.text
        # Unlike `cargo xtask up`, `host` sets an operator token by default.
        variables = {"operator_token": ""}
        for argument in arguments:
            if argument == "--var":
                name, value = next(arguments).split("=", 1)
                variables[name] = value
            elif argument == "--source":
                name, value = next(arguments).split("=", 1)
                is_token = value.startswith("token:")
                proof = {"tokens": [value.removeprefix("token:")]} if is_token else {"sender": name, "secrets": [value]}
                sources = variables.setdefault("sources", [])
                source = next((source for source in sources if source["name"] == name), None)
                if source is None:
                    sources.append({"name": name} | proof)
                else:
                    source["secrets"].append(value)
            else:
                assert argument in ("--host", "--raw"), f"{self.page}:{block.line} has an unsupported {argument}"
        self.running.close()
        self.log = self.scratch / f"log-{block.line}"
        state, log = self.running.enter_context(self.make_data()), self.running.enter_context(self.log.open("wb"))
        sluice = self.running.enter_context(host(state, {}, log=log, **variables))
        previous, self.places = self.places, {
            "127.0.0.1:3000": sluice.url.removeprefix("http://"),
            "127.0.0.1:7701": sluice.engine.removeprefix("http://"),
            ".spin/sqlite_key_value.db": f"{state}/sqlite_key_value.db",
        }
        # Variables and functions may contain the places of the previous Sluice.
        environment = self.environment.read_text()
        for documented, actual in previous.items():
            environment = environment.replace(actual, self.places[documented])
        self.environment.write_text(environment)

    def run(self, block: Block) -> str:
        """Runs a block, and returns its output with the documented addresses."""
        text = block.text
        for documented, actual in self.places.items():
            text = text.replace(documented, actual)
        save = f"{{ export -p; declare -f; }} > {self.environment}"
        done = subprocess.run(
            ["bash", "-c", f"set -a\nTMPDIR={self.scratch}\n. {self.environment}\n{text}\nrc=$?\n{save}\nexit $rc"],
            cwd=ROOT, timeout=120, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        printed = self.with_documented_places(done.stdout.decode())
        assert done.returncode == 0, f"{self.page}:{block.line} exited with {done.returncode}:\n{printed}"
        return printed

    def with_documented_places(self, text: str) -> str:
        for documented, actual in self.places.items():
            text = text.replace(actual, documented)
        return text

    def check(self, block: Block, printed: str):
        """Asserts that the output blocks match the output or the log."""
        for output in block.outputs:
            if "log" in output.words:
                for line in output.text.splitlines():
                    self.wait_for_log(line, output)
            else:
                is_match = matches(output.text, printed, self.known)
                assert is_match, f"{self.page}:{output.line} shows\n{output.text}\nbut the output is\n{printed}"

    def wait_for_log(self, line: str, output: Block):
        """Waits for a line in the log, because the line of a request is written after its response."""
        for _ in range(100):
            logged = self.with_documented_places(self.log.read_text())
            if any(matches(line, other, self.known) for other in logged.splitlines()):
                return
            time.sleep(0.1)
        pytest.fail(f"{self.page}:{output.line} shows a line that isn't in the log:\n{line}\n{logged}")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, ["sh"])])
def test_commands_print_what_their_page_shows(page, data, tmp_path):
    terminal = Terminal(page, data, tmp_path)
    with terminal.running:
        for block in blocks(page):
            if block.words == ["sh", "up"]:
                terminal.up(block)
            elif block.words == ["sh"]:
                terminal.check(block, terminal.run(block))


def test_blocks_that_are_not_run_have_a_reason():
    pages = [page for page in PAGES if not page.startswith("docs/engines/")]
    found = [(page, block.text) for page in pages for block in blocks(page, ["sh", "elsewhere"])]
    reasons = [[key for key in ELSEWHERE if page == key[0] and text.startswith(key[1])] for page, text in found]
    assert sorted(key for keys in reasons for key in keys) == sorted(ELSEWHERE) and all(reasons), found


def test_guides_have_commands_that_are_run():
    counts = {page: len(blocks(page, ["sh"])) for page in PAGES if "guides/" in page or "runbook" in page}
    assert len(counts) >= 7 and min(counts.values()) >= 3, counts


def test_comparison_detects_differences():
    shown = 'HTTP/1.1 200 OK\n…\nid: 01M88RVHBD8V6X7HAEYEN9EE7A\n\n{"id":"01M88RVHBD8V6X7HAEYEN9EE7A","n":1,…}\n'
    printed = shown.replace("7A", "7B").replace("…\n", "").replace(",…", ',"m":2').replace("\n", "\r\n")
    known = {}
    assert matches(shown, printed, known) and matches(shown, printed, known)
    assert not matches("01M88RVHBD8V6X7HAEYEN9EE7A", "01M88RVHBD8V6X7HAEYEN9EE7C", known)
    for old, new in [("200", "202"), ('"n":1', '"n":2'), ("id: 01", "id: 02"), ("}", "}\nmore"), ("HT", "x\nHT")]:
        assert not matches(shown, printed.replace(old, new), {}), new
