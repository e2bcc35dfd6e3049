"""The console in a real browser: each page, each action, hostile payloads, the keyboard, contrast, a phone."""

import json
import os
import pathlib

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import ROOT, heading, host, shows

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
    more = {"access_tokens": "t0ken", "routes": json.dumps(ROUTES), "link_secret": os.urandom(16).hex()}
    with data() as state, host(state, secrets, **more) as running:
        yield Console(running)


@pytest.fixture
def console(running_console):
    """A console with nothing stored, and an engine that is well."""
    running_console.clear()
    return running_console


@pytest.fixture
def signed_in(page, console):
    """By the password in the URL, which the browser gives when it is asked; it then keeps it for the origin."""
    view(page)
    page.get_log("browser")
    page.get(console.at("/console", "me:op3rator@"))
    heading(page, "Overview")
    yield page
    entries = [entry["message"] for entry in page.get_log("browser")]
    assert [entry for entry in entries if "Content Security Policy" in entry] == []
    view(page)


class Console:
    def __init__(self, running):
        self.url, self.engine = running.url, running.engine

    def at(self, path: str, user: str = "", name: str = "") -> str:
        """A URL of it: with the name and password of who asks, or with another name of this machine."""
        url = self.url.replace("127.0.0.1", name or "127.0.0.1")
        return url.replace("://", f"://{user}") + path

    def clear(self):
        requests.delete(f"{self.engine}/stand-in/script", timeout=30).raise_for_status()
        for state in ("pending", "dead"):
            for one in self.deliveries(state):
                requests.delete(f"{self.url}/api/v2/deliveries/{one['id']}", headers=OPERATOR, timeout=30)

    def deliveries(self, state="pending") -> list:
        listed = requests.get(f"{self.url}/api/v2/deliveries?state={state}", headers=OPERATOR, timeout=30)
        return listed.json()["deliveries"]

    def ill(self, code: int):
        script = {"always": [{"do": "status", "code": code}]}
        requests.post(f"{self.engine}/stand-in/script", json=script, timeout=30).raise_for_status()

    def well(self):
        requests.delete(f"{self.engine}/stand-in/script", timeout=30).raise_for_status()

    def pending(self, payload: dict, ref="nightly-build", kind="webhook", topic="") -> str:
        self.ill(503)
        params, token = {"ref": ref} | ({"topic": topic} if topic else {}), {"authorization": "Bearer t0ken"}
        answer = requests.post(f"{self.url}/api/v2/{kind}", params=params, json=payload, headers=token, timeout=30)
        assert answer.status_code == 202, answer.text
        return answer.headers["sluice-delivery"]

    def dead(self, payload: dict, ref="nightly-build") -> str:
        delivery = self.pending(payload, ref)
        self.ill(422)
        again = f"{self.url}/api/v2/deliveries/{delivery}/redeliver"
        assert requests.post(again, headers=OPERATOR, timeout=30).json()["state"] == "dead"
        return delivery


def main(page) -> str:
    return page.find_element(By.TAG_NAME, "main").text


def press(page, text: str):
    buttons = page.find_elements(By.CSS_SELECTOR, "button, a")
    [button] = [button for button in buttons if button.text == text]
    button.click()


def view(page, size="wide", scheme="light", height=0):
    """As on such a screen, for someone who likes such colours."""
    width, usual = SIZES[size]
    metrics = {"width": width, "height": height or usual, "deviceScaleFactor": 1, "mobile": size == "phone"}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": bool(height)})
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def everything(console) -> dict:
    """Something for each page to show."""
    console.well()
    ids = {"dead": console.dead({"branch": "main", "commit": "5f1c9c8e2f8b9a0001a1b2c3"}, "release")}
    ids["callback"] = console.pending({"approved": True, "by": "ada"}, "run-1", "callback", "approval")
    issue = {"number": 12345678901234567890, "title": "It's slow", "labels": ["bug", "ui"]}
    ids["pending"] = console.pending({"action": "opened", "issue": issue})
    return ids


def test_a_wrong_password_is_refused(page, console):
    assert requests.get(console.at("/console"), timeout=30).headers["www-authenticate"].startswith("Basic ")
    for user, status in (("me:wrong@", 401), (":op3rator@", 200)):
        assert requests.get(console.at("/console", user), timeout=30).status_code == status


def test_each_page_by_its_links(signed_in, console):
    page, ids = signed_in, everything(console)
    page.refresh()
    assert "Pending\n2\n" in main(page) and "Dead\n1\n" in main(page)
    for text in ("an access token: 1 is set", "github 2 secrets", "slack 2 secrets", "webhooks of github", "triage", "title"):
        assert text in main(page), main(page)
    # The style is one that the policy lets through.
    assert page.find_element(By.CSS_SELECTOR, ".chip").value_of_css_property("font-weight") == "600"

    press(page, "Deliveries")
    heading(page, "Deliveries")
    assert ids["pending"] in main(page) and ids["callback"] in main(page) and ids["dead"] not in main(page)
    press(page, "Dead (1)")
    shows(page, ids["dead"])
    press(page, "release")
    heading(page, "Start release")
    assert "the engine answered 422" in main(page) and '"branch": "main"' in main(page)

    press(page, "Callbacks")
    heading(page, "Callbacks of a run")
    page.find_element(By.NAME, "run").send_keys("run-1" + Keys.ENTER)
    shows(page, '"by": "ada"')
    press(page, "its delivery")
    heading(page, "Resolve run-1")


def test_a_search_finds_by_topic_and_by_id(signed_in, console):
    page, ids = signed_in, everything(console)
    for text, shown in (
        ("APPROV", "2 deliveries looked at"), ("nothing", "Nothing was found"), (ids["pending"].lower(), "Request to the engine"),
    ):
        page.get(console.at("/console/deliveries"))
        page.find_element(By.NAME, "q").send_keys(text + Keys.ENTER)
        shows(page, shown)
        assert (ids["callback"] in main(page)) == (text == "APPROV")
    heading(page, "Start nightly-build")


def test_redeliver_and_drain(signed_in, console):
    page, ids = signed_in, everything(console)
    page.get(console.at(f"/console/deliveries/{ids['pending']}"))
    press(page, "Redeliver now")
    shows(page, "It stays pending: the engine answered 503")
    console.well()
    press(page, "Redeliver now")
    heading(page, "Delivered")
    assert [one["id"] for one in console.deliveries()] == [ids["callback"]]
    # Of a run that the engine doesn't know.
    press(page, "Overview")
    heading(page, "Overview")
    press(page, "Drain now")
    shows(page, "Drained: ")


def test_delete_asks_first(signed_in, console):
    page, delivery = signed_in, console.pending({})
    page.get(console.at(f"/console/deliveries/{delivery}"))
    press(page, "Delete…")
    heading(page, "Delete this delivery?")
    press(page, "Keep it")
    heading(page, "Start nightly-build")
    assert len(console.deliveries()) == 1
    press(page, "Delete…")
    heading(page, "Delete this delivery?")
    press(page, "Delete for good")
    heading(page, "Deleted")
    assert console.deliveries() == []
    page.get(console.at(f"/console/deliveries/{delivery}"))
    heading(page, "No such delivery")


def test_what_a_sender_wrote_stays_text(signed_in, console):
    page = signed_in
    hook = console.pending({"a": EVIL, EVIL: 1}, ref="<img src=x onerror=alert(1)>".replace(" ", "\u00a0"))
    callback = console.pending({"a": EVIL}, "r<b>", "callback", EVIL)
    pages = [
        "/console/deliveries", f"/console/deliveries/{hook}", f"/console/deliveries/{hook}/delete",
        f"/console/deliveries/{callback}", "/console/callbacks?run=r%3Cb%3E", "/console/deliveries?q=%22%3E%3Cscript%3E",
    ]
    for path in pages:
        page.get(console.at(path))
        assert "hit" not in page.title
        assert page.find_elements(By.CSS_SELECTOR, "img, script, main b, iframe") == []
    page.get(console.at(f"/console/deliveries/{hook}"))
    # As JSON writes it.
    assert json.dumps(EVIL) in main(page)


def test_another_site_can_not_press_a_button(signed_in, console):
    page, delivery = signed_in, console.pending({})
    path = f"/console/deliveries/{delivery}/delete"
    # The browser would send the password with this one.
    forged = f"<form method=post action='{console.at(path)}'><button>Win a prize</button></form><h1>Prizes</h1>"
    page.get(f"data:text/html,{requests.utils.quote(forged)}")
    press(page, "Win a prize")
    heading(page, "This was not asked for by the console's own page")
    assert len(console.deliveries()) == 1


def test_without_tls_a_form_is_known_by_its_origin(signed_in, console):
    page, delivery = signed_in, console.pending({})
    page.get(console.at(f"/console/deliveries/{delivery}/delete", "me:op3rator@", "sluice.test"))
    press(page, "Delete for good")
    heading(page, "Deleted")
    assert console.deliveries() == []


def test_the_keyboard_is_enough(signed_in, console):
    page, delivery = signed_in, console.pending({})

    def tab_to(text: str):
        for _ in range(40):
            page.switch_to.active_element.send_keys(Keys.TAB)
            if page.switch_to.active_element.text == text:
                outline = page.switch_to.active_element.value_of_css_property("outline-style")
                assert outline == "solid", "where the focus is can be seen"
                return page.switch_to.active_element
        raise AssertionError(f"the keyboard doesn't reach {text}: {page.page_source}")

    page.refresh()
    page.switch_to.active_element.send_keys(Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.text == "Skip to content" and skip.location["x"] >= 0
    tab_to("Deliveries").send_keys(Keys.ENTER)
    heading(page, "Deliveries")
    tab_to("nightly-build").send_keys(Keys.ENTER)
    heading(page, "Start nightly-build")
    tab_to("Delete…").send_keys(Keys.ENTER)
    heading(page, "Delete this delivery?")
    tab_to("Delete for good").send_keys(Keys.ENTER)
    heading(page, "Deleted")
    assert console.deliveries() == [] and delivery not in page.current_url.replace(f"/{delivery}/delete", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious(browser, console, size, scheme):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    axe = (NODE_MODULES / "axe-core/axe.min.js").read_text()
    browser.get(console.at("/console", "me:op3rator@"))
    empty = ["/console", "/console/deliveries", "/console/deliveries?q=x", "/console/callbacks", "/console/deliveries/x"]
    shown = []
    for make in (lambda: empty, lambda: full(everything(console))):
        for path in make():
            view(browser, size, scheme)
            browser.get(console.at(path))
            browser.execute_script(axe)
            found = serious(browser)
            assert found == [], f"{path}: {json.dumps(found, indent=1)}"
            # Nothing sticks out to the right.
            assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), path
            shown.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    browser.execute_script("document.querySelector('h1').style.opacity = .25")
    assert [rule["id"] for rule in serious(browser)] == ["color-contrast"], "it would be found"
    assert len(set(shown)) == 1 and (shown[0] == "rgb(16, 20, 27)") == (scheme == "dark")
    view(browser)


def serious(page) -> list:
    found = page.execute_async_script("axe.run().then(arguments[0])")
    return [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]


def full(ids: dict) -> list:
    return [
        "/console", "/console/deliveries", "/console/deliveries?state=dead", f"/console/deliveries/{ids['pending']}",
        f"/console/deliveries/{ids['dead']}", f"/console/deliveries/{ids['dead']}/delete", "/console/callbacks?run=run-1",
    ]


def test_the_screenshots_of_the_docs(browser, console, tmp_path):
    """Set SLUICE_SCREENSHOTS to docs/images to make them anew."""
    ids, folder = everything(console), pathlib.Path(os.environ.get("SLUICE_SCREENSHOTS", tmp_path))
    for code in (503, 429, 503):
        console.ill(code)
        requests.post(f"{console.url}/api/v2/deliveries/{ids['pending']}/redeliver", headers=OPERATOR, timeout=30)
    browser.get(console.at("/console", "me:op3rator@"))
    for name, size, scheme, height, path in (
        ("overview", "wide", "light", 1180, "/console"),
        ("delivery", "wide", "dark", 1180, f"/console/deliveries/{ids['pending']}"),
        ("phone", "phone", "light", 844, "/console/deliveries"),
    ):
        view(browser, size, scheme, height)
        browser.get(console.at(path))
        assert browser.save_screenshot(str(folder / f"console-{name}.png"))
    view(browser)
