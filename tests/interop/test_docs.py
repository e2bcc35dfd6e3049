"""The commands of the documents, pasted into a shell, print what the documents show.

A fenced block says by the words after its fence what it is:

    sh up         starts Sluice by its `cargo xtask up`: the variables are taken, the ports are free ones
    sh            is run by bash at the repository's root; variables and functions last to the end of the page
    sh elsewhere  is for another place, and is not run: ELSEWHERE says why
    text          right after such a block: what it prints
    text log      what the log has by then, among other lines

In what is shown, `…` stands for anything on its line, alone on a line for any lines; times and ids for any of their
kind. Other blocks (json, yaml, html) are only read, and have no commands.
"""

import collections
import contextlib
import pathlib
import re
import shlex
import subprocess
import time

import pytest
from conftest import ROOT, host

PAGES = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))
COMMAND = re.compile(r"^(\$ )?(az|cargo|curl|docker|gh|kubectl|redis-cli|spin|stripe|\./\S+) ", re.MULTILINE)

# What is not run: its page, and how it begins. A vendor's account, a cluster or Spin is not here.
ELSEWHERE = {
    ("docs/guides/event-grid.md", "az eventgrid"): "wants an Azure subscription",
    ("docs/guides/github.md", "gh api"): "wants a repository on GitHub",
    ("docs/guides/knative.md", "kubectl apply"): "wants a cluster with Knative",
    ("docs/guides/stripe.md", "stripe listen"): "wants an account with Stripe",
    ("docs/runbook.md", "redis-cli"): "wants Spin, and a Redis",
}

# What is another each time. An id has to be the same wherever the page has the same one.
IDS = {
    "delivery": r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b",
    "key": r"\b[0-9A-V]{52}\b",
    "run": r"\b[0-9a-f]{24}\b",
    "commit": r"\b[0-9a-f]{40}\b",
}
FOUND = IDS | {
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)",
    "duration": r'(?<="duration_ms":)[\d.]+',
    "lines": r"^…\n",
    "text": "…",
}
STANDS_FOR = FOUND | {"lines": r"(?:.*\n)*", "text": ".*"}
KINDS = re.compile("|".join(f"(?P<{kind}>{expression})" for kind, expression in FOUND.items()), re.MULTILINE)

# A fenced block, and those that show what it prints.
Block = collections.namedtuple("Block", "line words text shown")


def blocks(page: str, words=None) -> list:
    """The blocks of a page that are for a shell, each with what it shows; with `words` those of that kind."""
    text = (ROOT / page).read_text()
    found = []
    for match in re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        block = Block(text.count("\n", 0, match.start()) + 1, match[1].split(), match[2], [])
        if block.words in (["text"], ["text", "log"]):
            found[-1].shown.append(block)
        elif block.words in (["sh"], ["sh", "up"], ["sh", "elsewhere"]):
            found.append(block)
        else:
            assert not COMMAND.search(block.text), f"{page}:{block.line} has a command, and isn't marked `sh`"
    return [block for block in found if words in (None, block.words)]


def is_shown(shown: str, printed: str, known: dict) -> bool:
    """Is this what the page shows? `known` has what the page's ids were so far."""
    names = {}

    def part(found: re.Match) -> str:
        text, kind = found[0], found.lastgroup
        if kind not in IDS:
            return STANDS_FOR[kind]
        if text in known:
            return re.escape(known[text])
        if text in names:
            return f"(?P={names[text]})"
        names[text] = f"id{len(names)}"
        return f"(?P<{names[text]}>{STANDS_FOR[kind]})"

    shown, expression, at = shown.rstrip("\n") + "\n", "", 0
    for found in KINDS.finditer(shown):
        expression += re.escape(shown[at : found.start()]) + part(found)
        at = found.end()
    # Lines of HTTP end in CR LF.
    printed = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    matched = re.fullmatch(expression + re.escape(shown[at:]), printed)
    known.update({text: matched[name] for text, name in names.items()} if matched else {})
    return matched is not None


class Terminal:
    """A page's shell, and the Sluice that the page started last."""

    def __init__(self, page: str, make_data, scratch: pathlib.Path):
        self.page, self.make_data, self.scratch = page, make_data, scratch
        self.environment = scratch / "environment"
        self.environment.touch()
        self.running, self.places, self.known = contextlib.ExitStack(), {}, {}

    def up(self, block: Block):
        """Starts Sluice with the variables of a `cargo xtask up`."""
        arguments = iter(shlex.split(block.text.replace("\\\n", " ")))
        assert [next(arguments) for _ in range(3)] == ["cargo", "xtask", "up"], block.text
        # The other tests have an operator; who runs `up` has one only if it is set.
        variables = {"operator_token": ""}
        for argument in arguments:
            if argument in ("--var", "--variable"):
                name, value = next(arguments).split("=", 1)
                variables[name] = value
            else:
                assert argument in ("--host", "--raw"), f"{self.page}:{block.line} has {argument}"
        self.running.close()
        self.log = self.scratch / f"log-{block.line}"
        state, log = self.running.enter_context(self.make_data()), self.running.enter_context(self.log.open("wb"))
        sluice = self.running.enter_context(host(state, {}, log=log, **variables))
        before, self.places = self.places, {
            "127.0.0.1:3000": sluice.url.removeprefix("http://"),
            "127.0.0.1:7701": sluice.engine.removeprefix("http://"),
            ".spin/sqlite_key_value.db": f"{state}/sqlite_key_value.db",
        }
        # What is kept in variables and functions leads to where the one before was.
        kept = self.environment.read_text()
        for documented, actual in before.items():
            kept = kept.replace(actual, self.places[documented])
        self.environment.write_text(kept)

    def run(self, block: Block) -> str:
        """Runs a block as it would be pasted, and gives what it prints, with the documented addresses."""
        text = block.text
        for documented, actual in self.places.items():
            text = text.replace(documented, actual)
        keep = f"{{ export -p; declare -f; }} > {self.environment}"
        done = subprocess.run(
            ["bash", "-c", f"set -a\nTMPDIR={self.scratch}\n. {self.environment}\n{text}\nrc=$?\n{keep}\nexit $rc"],
            cwd=ROOT, timeout=120, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        printed = self.documented(done.stdout.decode())
        assert done.returncode == 0, f"{self.page}:{block.line} ended with {done.returncode}:\n{printed}"
        return printed

    def documented(self, text: str) -> str:
        for documented, actual in self.places.items():
            text = text.replace(actual, documented)
        return text

    def check(self, block: Block, printed: str):
        for shown in block.shown:
            for line in shown.text.splitlines() if "log" in shown.words else []:
                self.wait_for(line, shown)
            is_good = "log" in shown.words or is_shown(shown.text, printed, self.known)
            assert is_good, f"{self.page}:{shown.line} shows\n{shown.text}\nbut it is\n{printed}"

    def wait_for(self, line: str, shown: Block):
        """The line of a request is written after its answer."""
        for _ in range(100):
            logged = self.documented(self.log.read_text())
            if any(is_shown(line, one, self.known) for one in logged.splitlines()):
                return
            time.sleep(0.1)
        pytest.fail(f"{self.page}:{shown.line} is not in the log:\n{line}\n{logged}")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, ["sh"])])
def test_what_a_page_shows_is_what_its_commands_print(page, data, tmp_path):
    terminal = Terminal(page, data, tmp_path)
    with terminal.running:
        for block in blocks(page):
            if block.words == ["sh", "up"]:
                terminal.up(block)
            elif block.words == ["sh"]:
                terminal.check(block, terminal.run(block))


def test_what_is_not_run_has_a_reason():
    found = [(page, block.text) for page in PAGES for block in blocks(page, ["sh", "elsewhere"])]
    reasons = [[key for key in ELSEWHERE if page == key[0] and text.startswith(key[1])] for page, text in found]
    assert sorted(key for keys in reasons for key in keys) == sorted(ELSEWHERE) and all(reasons), found


def test_every_guide_has_commands_that_are_run():
    counts = {page: len(blocks(page, ["sh"])) for page in PAGES if "guides/" in page or "runbook" in page}
    assert len(counts) >= 7 and min(counts.values()) >= 3, counts


def test_the_comparison_can_fail():
    shown = 'HTTP/1.1 200 OK\n…\nid: 01M88RVHBD8V6X7HAEYEN9EE7A\n\n{"id":"01M88RVHBD8V6X7HAEYEN9EE7A","n":1,…}\n'
    printed = shown.replace("7A", "7B").replace("…\n", "").replace(",…", ',"m":2').replace("\n", "\r\n")
    known = {}
    assert is_shown(shown, printed, known) and is_shown(shown, printed, known)
    assert not is_shown("01M88RVHBD8V6X7HAEYEN9EE7A", "01M88RVHBD8V6X7HAEYEN9EE7C", known)
    for old, new in [("200", "202"), ('"n":1', '"n":2'), ("id: 01", "id: 02"), ("}", "}\nmore"), ("HT", "x\nHT")]:
        assert not is_shown(shown, printed.replace(old, new), {}), new
