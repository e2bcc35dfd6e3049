"""The console in a real browser: pages, actions, hostile payloads, keyboard navigation, contrast, and the screen of a
phone."""

import contextlib
import hashlib
import hmac
import json
import math
import os
import pathlib
import re
import sqlite3
import time

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import ROOT, host, wait_for_heading, wait_for_text

OPERATOR = {"authorization": "Bearer op3rator"}
NODE_MODULES = pathlib.Path(os.environ.get("SLUICE_NODE_MODULES", ROOT / "target/interop-npm/node_modules"))
EVIL = "</pre></main><script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">"
ROUTES = [
    {
        "workflow": "triage", "from": "webhook", "sender": "github", "filter": {"exact": {"type": "issues"}},
        "params": {"title": "$.issue.title"},
    },
    {"workflow": "audit", "from": "event"},
]
SIZES = {"phone": (390, 844), "wide": (1280, 900)}


@pytest.fixture(scope="module")
def running_console(data):
    secrets = {name: (os.urandom(16).hex(), os.urandom(16).hex()) for name in ("github", "slack")}
    variables = {"access_tokens": "t0ken", "routes": ROUTES, "settings": {"link_secrets": [os.urandom(16).hex()]}}
    with data() as state, host(state, secrets, **variables) as running:
        yield Console(running, state)


@pytest.fixture
def console(running_console):
    """A console without deliveries, whose engine works."""
    running_console.clear()
    return running_console


@pytest.fixture
def signed_in(page, console):
    """A browser that has signed in by a URL with the password, and now sends it to this origin with each request."""
    set_view(page)
    page.get_log("browser")
    page.get(console.at("/console", "me:op3rator@"))
    wait_for_heading(page, "Overview")
    yield page
    entries = [entry["message"] for entry in page.get_log("browser")]
    assert [entry for entry in entries if "Content Security Policy" in entry] == []
    set_view(page)


class Console:
    """A host with a console, and its engine."""

    def __init__(self, running, state):
        self.url, self.engine, self.secrets, self.state = running.url, running.engine, running.secrets, state

    def at(self, path: str, user: str = "", host: str = "") -> str:
        """The URL of a path, optionally with `user:password@` or with another name of this machine."""
        url = self.url.replace("127.0.0.1", host or "127.0.0.1")
        return url.replace("://", f"://{user}") + path

    def clear(self):
        """Deletes all deliveries and makes the engine work."""
        requests.delete(f"{self.engine}/stand-in/script", timeout=30).raise_for_status()
        for state in ("pending", "dead"):
            for delivery in self.deliveries(state):
                requests.delete(f"{self.url}/api/v2/deliveries/{delivery['id']}", headers=OPERATOR, timeout=30)

    def deliveries(self, state="pending") -> list:
        listed = requests.get(f"{self.url}/api/v2/deliveries?state={state}", headers=OPERATOR, timeout=30)
        return listed.json()["deliveries"]

    def break_engine(self, code: int):
        """Makes the engine respond to every request with this status."""
        script = {"always": [{"do": "status", "code": code}]}
        requests.post(f"{self.engine}/stand-in/script", json=script, timeout=30).raise_for_status()

    def fix_engine(self):
        requests.delete(f"{self.engine}/stand-in/script", timeout=30).raise_for_status()

    def pending(self, payload: dict, ref="nightly-build", kind="webhook", topic="") -> str:
        """Stores a pending delivery and returns its id. The engine stays broken."""
        self.break_engine(503)
        params, token = {"ref": ref} | ({"topic": topic} if topic else {}), {"authorization": "Bearer t0ken"}
        response = requests.post(f"{self.url}/api/v2/{kind}", params=params, json=payload, headers=token, timeout=30)
        assert response.status_code == 202, response.text
        return response.headers["sluice-delivery"]

    def dead(self, payload: dict, ref="nightly-build") -> str:
        """Stores a dead letter and returns its id. The engine stays broken."""
        delivery = self.pending(payload, ref)
        self.break_engine(422)
        redeliver = f"{self.url}/api/v2/deliveries/{delivery}/redeliver"
        assert requests.post(redeliver, headers=OPERATOR, timeout=30).json()["state"] == "dead"
        return delivery


    def signed_webhook(self, secret: str, delivery: str, status: int):
        """Sends a webhook as GitHub does, which gets this status."""
        body = json.dumps({"action": "opened", "issue": {"title": "It's slow"}})
        signature = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json", "x-github-event": "issues", "x-github-delivery": delivery,
            "x-hub-signature-256": f"sha256={signature}",
        }
        url = f"{self.url}/api/v2/webhook?ref=triage"
        assert requests.post(url, data=body, headers=headers, timeout=30).status_code == status

    def sample(self):
        """Stores the samples of earlier drains, in the form that passes a minute apart leave, with a pause in between.
        Then runs a drain, which adds its own."""
        now, samples = int(time.time() * 1_000), []
        for minute in [*range(118, 70, -1), *range(40, 0, -1)]:
            at, wave = now - minute * 60_000, max(0, math.sin((118 - minute) / 12.5))
            pending = round(40 * wave)
            sample = {"at": at, "pending": pending, "dead": int(minute <= 30), "failed": int(minute == 30)}
            oldest = {"oldest": at - 90_000 * (1 + pending // 10)} if pending else {}
            samples.append(sample | {"delivered": round(25 * wave)} | oldest)
        history = json.dumps({"v": 1, "samples": samples, "source_notes": []})
        [database] = pathlib.Path(self.state).rglob("*.db")
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            statement = "INSERT OR REPLACE INTO spin_key_value (store, key, value) VALUES (?, ?, ?)"
            connection.execute(statement, ["default", "sluice:history", history.encode()])
        requests.post(f"{self.url}/api/v2/deliveries/drain", headers=OPERATOR, timeout=60).raise_for_status()


def main(page) -> str:
    return page.find_element(By.TAG_NAME, "main").text


def click(page, text: str):
    """Clicks the button, link or summary with this text."""
    buttons = page.find_elements(By.CSS_SELECTOR, "button, a, summary")
    [button] = [button for button in buttons if button.text == text]
    button.click()


def set_view(page, size="wide", scheme="light", height=0):
    """Emulates a screen and a preferred colour scheme."""
    width, default_height = SIZES[size]
    metrics = {"width": width, "height": height or default_height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": bool(height)})
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def fill(console) -> dict:
    """Stores deliveries for every page, and returns their ids."""
    console.fix_engine()
    ids = {"dead": console.dead({"branch": "main", "commit": "5f1c9c8e2f8b9a0001a1b2c3"}, "release")}
    ids["callback"] = console.pending({"approved": True, "by": "ada"}, "run-1", "callback", "approval")
    issue = {"number": 12345678901234567890, "title": "It's slow", "labels": ["bug", "ui"]}
    ids["pending"] = console.pending({"action": "opened", "issue": issue})
    console.signed_webhook("other", "refused", 401)
    return ids


def fill_with_history(console) -> dict:
    """Like `fill`; besides, a source was verified, by its old secret too, and drains have left samples."""
    console.fix_engine()
    for secret in console.secrets["github"]:
        console.signed_webhook(secret, os.urandom(8).hex(), 200)
    ids = fill(console)
    console.sample()
    return ids


def test_wrong_password_is_rejected(page, console):
    assert requests.get(console.at("/console"), timeout=30).headers["www-authenticate"].startswith("Basic ")
    for user, status in (("me:wrong@", 401), (":op3rator@", 200)):
        assert requests.get(console.at("/console", user), timeout=30).status_code == status, user


def test_links_lead_to_every_page(signed_in, console):
    page, ids = signed_in, fill(console)
    page.refresh()
    assert "Pending\n2\n" in main(page) and "Dead\n1\n" in main(page)
    for text in ("an access token (1 token is set)", "github github", "slack slack", "github webhooks", "triage", "title"):
        assert text in main(page), f"{text!r} is missing in {main(page)}"
    # The Content Security Policy allows the page's style.
    assert page.find_element(By.CSS_SELECTOR, ".chip").value_of_css_property("font-weight") == "600"

    click(page, "Deliveries")
    wait_for_heading(page, "Deliveries")
    assert ids["pending"] in main(page) and ids["callback"] in main(page) and ids["dead"] not in main(page)
    click(page, "Dead (1)")
    wait_for_text(page, ids["dead"])
    click(page, "release")
    wait_for_heading(page, "Start release")
    assert "the engine answered 422" in main(page) and '"branch": "main"' in main(page)

    click(page, "Callbacks")
    wait_for_heading(page, "Callbacks of a run")
    page.find_element(By.NAME, "run").send_keys("run-1" + Keys.ENTER)
    wait_for_text(page, '"by": "ada"')
    click(page, "Show delivery")
    wait_for_heading(page, "Resolve run-1")

    click(page, "Overview")
    wait_for_heading(page, "Overview")
    page.find_element(By.NAME, "ref").send_keys("nightly-build" + Keys.ENTER)
    wait_for_heading(page, "Preflight")
    assert page.find_elements(By.CSS_SELECTOR, ".findings .chip") != []
    page.get(console.at(f"/console/deliveries/{ids['pending']}"))
    click(page, "Check the workflow")
    wait_for_heading(page, "Preflight")
    assert page.find_element(By.NAME, "ref").get_attribute("value") == "nightly-build"


def test_search_finds_by_topic_and_by_id(signed_in, console):
    page, ids = signed_in, fill(console)
    for text, result in (
        ("APPROV", "2 deliveries searched"), ("nothing", "Nothing was found"), (ids["pending"].lower(), "Request to the engine"),
    ):
        page.get(console.at("/console/deliveries"))
        page.find_element(By.NAME, "q").send_keys(text + Keys.ENTER)
        wait_for_text(page, result)
        assert (ids["callback"] in main(page)) == (text == "APPROV"), text
    wait_for_heading(page, "Start nightly-build")


def test_redeliver_and_drain_buttons_work(signed_in, console):
    page, ids = signed_in, fill(console)
    page.get(console.at(f"/console/deliveries/{ids['pending']}"))
    click(page, "Redeliver now")
    wait_for_text(page, "The delivery stays pending: the engine answered 503")
    console.fix_engine()
    click(page, "Redeliver now")
    wait_for_heading(page, "Delivered")
    # The callback stays pending, because the engine doesn't know its run.
    assert [delivery["id"] for delivery in console.deliveries()] == [ids["callback"]]
    click(page, "Overview")
    wait_for_heading(page, "Overview")
    click(page, "Drain now")
    wait_for_text(page, "Drained: ")


def test_delete_asks_for_confirmation(signed_in, console):
    page, delivery = signed_in, console.pending({})
    page.get(console.at(f"/console/deliveries/{delivery}"))
    click(page, "Delete…")
    wait_for_heading(page, "Delete this delivery?")
    click(page, "Cancel")
    wait_for_heading(page, "Start nightly-build")
    assert len(console.deliveries()) == 1
    click(page, "Delete…")
    wait_for_heading(page, "Delete this delivery?")
    click(page, "Delete permanently")
    wait_for_heading(page, "Deleted")
    assert console.deliveries() == []
    page.get(console.at(f"/console/deliveries/{delivery}"))
    wait_for_heading(page, "No such delivery")


def test_all_that_match_are_redelivered_and_deleted(signed_in, console):
    page, ids = signed_in, fill(console)
    other = console.dead({}, "bill")
    page.get(console.at("/console/deliveries?state=dead"))
    click(page, "Workflow, source, time, failure")
    page.find_element(By.NAME, "workflow").send_keys("rel*" + Keys.ENTER)
    wait_for_text(page, "2 deliveries searched")
    assert ids["dead"] in main(page) and other not in main(page)
    click(page, "Redeliver all that match…")
    wait_for_heading(page, "Redeliver 1 delivery?")
    assert "of the workflow rel*" in main(page) and ids["dead"] in main(page)
    console.fix_engine()
    click(page, "Redeliver all")
    wait_for_heading(page, "Redelivered")
    assert ids["dead"] in [delivery["id"] for delivery in console.deliveries()]
    click(page, "Dead deliveries")
    wait_for_text(page, other)
    click(page, "Delete all that match…")
    wait_for_heading(page, "Delete 1 delivery?")
    click(page, "Cancel")
    wait_for_heading(page, "Deliveries")
    click(page, "Delete all that match…")
    wait_for_heading(page, "Delete 1 delivery?")
    click(page, "Delete all permanently")
    wait_for_heading(page, "Deleted")
    assert console.deliveries("dead") == []


def test_sender_input_is_shown_as_text(signed_in, console):
    page = signed_in
    webhook = console.pending({"a": EVIL, EVIL: 1}, ref="<img src=x onerror=alert(1)>".replace(" ", "\u00a0"))
    callback = console.pending({"a": EVIL}, "r<b>", "callback", EVIL)
    pages = [
        "/console/deliveries", f"/console/deliveries/{webhook}", f"/console/deliveries/{webhook}/delete",
        "/console/deliveries/redeliver?state=pending&failure=%22%3E%3Cb%3E", "/console/deliveries/delete?state=pending",
        f"/console/deliveries/{callback}", "/console/callbacks?run=r%3Cb%3E", "/console/deliveries?q=%22%3E%3Cscript%3E",
    ]
    for path in pages:
        page.get(console.at(path))
        assert "hit" not in page.title, path
        assert page.find_elements(By.CSS_SELECTOR, "img, script, main b, iframe") == [], path
    page.get(console.at(f"/console/deliveries/{webhook}"))
    assert json.dumps(EVIL) in main(page)


def test_forms_of_other_sites_are_rejected(signed_in, console):
    page, delivery = signed_in, console.pending({})
    path = f"/console/deliveries/{delivery}/delete"
    # The browser sends the password along with this form.
    forged = f"<form method=post action='{console.at(path)}'><button>Win a prize</button></form><h1>Prizes</h1>"
    page.get(f"data:text/html,{requests.utils.quote(forged)}")
    click(page, "Win a prize")
    wait_for_heading(page, "The form was not sent by the console")
    assert len(console.deliveries()) == 1


def test_console_forms_are_accepted_without_tls(signed_in, console):
    page, delivery = signed_in, console.pending({})
    page.get(console.at(f"/console/deliveries/{delivery}/delete", "me:op3rator@", "sluice.test"))
    click(page, "Delete permanently")
    wait_for_heading(page, "Deleted")
    assert console.deliveries() == []


def test_keyboard_reaches_every_action(signed_in, console):
    page, delivery = signed_in, console.pending({})

    def tab_to(text: str):
        for _ in range(40):
            page.switch_to.active_element.send_keys(Keys.TAB)
            if page.switch_to.active_element.text == text:
                outline = page.switch_to.active_element.value_of_css_property("outline-style")
                assert outline == "solid", f"the focus on {text} must be visible"
                return page.switch_to.active_element
        raise AssertionError(f"the Tab key doesn't reach {text}: {page.page_source}")

    page.refresh()
    page.switch_to.active_element.send_keys(Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.text == "Skip to content" and skip.location["x"] >= 0
    tab_to("Deliveries").send_keys(Keys.ENTER)
    wait_for_heading(page, "Deliveries")
    tab_to("nightly-build").send_keys(Keys.ENTER)
    wait_for_heading(page, "Start nightly-build")
    tab_to("Delete…").send_keys(Keys.ENTER)
    wait_for_heading(page, "Delete this delivery?")
    tab_to("Delete permanently").send_keys(Keys.ENTER)
    wait_for_heading(page, "Deleted")
    assert console.deliveries() == [] and delivery not in page.current_url.replace(f"/{delivery}/delete", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_no_serious_violation(browser, console, size, scheme):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    axe = (NODE_MODULES / "axe-core/axe.min.js").read_text()
    browser.get(console.at("/console", "me:op3rator@"))
    empty = [
        "/console", "/console/deliveries", "/console/deliveries?q=x", "/console/deliveries/delete?state=dead",
        "/console/callbacks", "/console/preflight",
        "/console/sources", "/console/deliveries/x",
    ]
    backgrounds = set()
    for make_paths in (lambda: empty, lambda: filled_pages(fill_with_history(console))):
        for path in make_paths():
            set_view(browser, size, scheme)
            browser.get(console.at(path))
            browser.execute_script(axe)
            violations = serious_violations(browser)
            assert violations == [], f"{path}: {json.dumps(violations, indent=1)}"
            pictures = browser.find_elements(By.CSS_SELECTOR, "svg[role=img][aria-label]")
            assert len(pictures) in ((0, 5) if path == "/console" else (0,)), path
            is_in_view = browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
            assert is_in_view, f"{path} scrolls horizontally"
            backgrounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    browser.execute_script("document.querySelector('h1').style.opacity = .25")
    assert [rule["id"] for rule in serious_violations(browser)] == ["color-contrast"], "axe must find low contrast"
    [background] = backgrounds
    assert (background == "rgb(16, 20, 27)") == (scheme == "dark")
    set_view(browser)


def serious_violations(page) -> list:
    result = page.execute_async_script("axe.run().then(arguments[0])")
    return [rule for rule in result["violations"] if rule["impact"] in ("serious", "critical")]


def filled_pages(ids: dict) -> list:
    return [
        "/console", "/console/deliveries", "/console/deliveries?state=dead", f"/console/deliveries/{ids['pending']}",
        f"/console/deliveries/{ids['dead']}", f"/console/deliveries/{ids['dead']}/delete", "/console/callbacks?run=run-1",
        "/console/preflight?ref=nightly-build", "/console/sources",
        "/console/deliveries?workflow=*&received_from=2026-11-24T08:30",
        "/console/deliveries/redeliver?state=dead&workflow=rel*", "/console/deliveries/delete?state=pending",
        "/console/replay",
    ]


def test_overview_draws_the_last_drains(signed_in, console):
    page, _ = signed_in, fill_with_history(console)
    page.refresh()
    assert re.search(r"\d+ samples over 11[89] min, the last one ", main(page)), main(page)
    labels = [picture.get_attribute("aria-label") for picture in page.find_elements(By.CSS_SELECTOR, "svg[role=img]")]
    assert [label.split(":")[0] for label in labels] == [
        "Pending", "Dead", "Oldest waiting", "Delivered per minute", "Failed per minute",
    ]
    assert labels[0] == "Pending: last 2, between 0 and 40"
    lines = page.find_elements(By.CSS_SELECTOR, "svg[role=img] path")
    assert all(line.get_attribute("d").count("M") == 2 for line in lines), "a line with a gap"
    for picture, line in zip(page.find_elements(By.CSS_SELECTOR, "svg[role=img]"), lines, strict=True):
        assert picture.size["width"] > 100 and picture.size["height"] > 30
        assert line.value_of_css_property("stroke") == "rgb(10, 87, 168)"


def test_sources_page_says_who_was_verified_and_refused(signed_in, console):
    page, _ = signed_in, fill_with_history(console)
    click(page, "Sources")
    wait_for_heading(page, "Sources")
    table = page.find_element(By.CSS_SELECTOR, "main table")
    rows = [row.text for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert len(rows) == 2 and "github" in rows[0] and "the signature does not match" in rows[0], rows
    assert "Not yet" not in rows[0] and "Slack" in rows[1] and "Not yet" in rows[1], rows
    assert "Old secret in use" in main(page)
    click(page, "github")
    assert page.current_url.endswith("/console/sources#source-0")


def test_screenshots_of_the_docs(browser, console, tmp_path):
    """Takes the screenshots of the docs. Set SLUICE_SCREENSHOTS to docs/images to update them."""
    ids, folder = fill_with_history(console), pathlib.Path(os.environ.get("SLUICE_SCREENSHOTS", tmp_path))
    for code in (503, 429, 503):
        console.break_engine(code)
        requests.post(f"{console.url}/api/v2/deliveries/{ids['pending']}/redeliver", headers=OPERATOR, timeout=30)
    browser.get(console.at("/console", "me:op3rator@"))
    for name, size, scheme, height, path in (
        ("overview", "wide", "light", 1180, "/console"),
        ("overview-phone", "phone", "dark", 1500, "/console"),
        ("sources", "wide", "light", 900, "/console/sources"),
        ("delivery", "wide", "dark", 1180, f"/console/deliveries/{ids['pending']}"),
        ("phone", "phone", "light", 844, "/console/deliveries"),
    ):
        set_view(browser, size, scheme, height)
        browser.get(console.at(path))
        assert browser.save_screenshot(str(folder / f"console-{name}.png")), name
    set_view(browser)
