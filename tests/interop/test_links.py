"""Callback links in a real browser, and in programs that only open them."""

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import wait_for_heading

OPERATOR = {"authorization": "Bearer op3rator"}
# Requests that mail programs and scanners send to inspect a link.
INSPECTIONS = [
    ("GET", {}),
    ("GET", {"accept": "text/html", "user-agent": "Mozilla/5.0 (compatible; scanner)"}),
    ("GET", {"sec-purpose": "prefetch;prerender"}),
    ("HEAD", {}),
]


def create_links(sluice, **options) -> dict:
    """Starts a run that waits, and creates its links."""
    waits = requests.post(f"{sluice.engine}/stand-in/waits", json={"workflow": "ship", "topic": "approval"}, timeout=30)
    run = waits.json()["run"]
    body = {"ref": run, "topic": "approval", "question": "Ship <em>1.2</em>?", **options}
    response = requests.post(f"{sluice.url}/api/v2/callback-links", headers=OPERATOR, json=body, timeout=30)
    assert response.status_code == 200, response.text
    return response.json() | {"run": run}


def callback(sluice, run: str):
    """The accepted callback of the run, or None."""
    response = requests.get(f"{sluice.url}/api/v2/callbacks/{run}?topic=approval", headers=OPERATOR, timeout=30)
    return response.json() if response.status_code == 200 else None


def wait_status(sluice, run: str) -> str:
    """The status of the run's waiting task in the engine."""
    runs = requests.get(f"{sluice.engine}/stand-in/runs", timeout=30).json()["runs"]
    tasks = next(listed for listed in runs if listed["id"] == run)["tasks"]
    [status] = [task["status"] for task in tasks if task["type"] == "eventwait"]
    return status


def test_button_sends_the_answer(page, linked):
    links = create_links(linked)
    page.get_log("browser")
    page.get(links["succeeded"])
    wait_for_heading(page, "Ship <em>1.2</em>?")
    button = page.find_element(By.TAG_NAME, "button")
    assert button.text == "Approve"
    # The Content Security Policy allows the page's style.
    assert button.value_of_css_property("font-weight") == "600"
    assert linked.engine_changes() == [] and callback(linked, links["run"]) is None
    assert wait_status(linked, links["run"]) == "waiting"

    button.click()
    wait_for_heading(page, "Your answer is recorded")
    [sent] = linked.engine_changes()
    assert sent["path"] == f"/api/v1/workflowrun/{links['run']}/event"
    answer = callback(linked, links["run"])
    assert (answer["status"], answer["state"]) == ("succeeded", "delivered")
    assert wait_status(linked, links["run"]) == "succeeded"

    # Resubmitting the form, or opening the other link, sends nothing more.
    page.refresh()
    wait_for_heading(page, "This has already been answered")
    page.get(links["failed"])
    wait_for_heading(page, "Another callback was accepted first")
    assert "succeeded" in page.find_element(By.TAG_NAME, "main").text
    assert page.find_elements(By.TAG_NAME, "button") == []
    assert len(linked.engine_changes()) == 1
    violations = [entry for entry in page.get_log("browser") if "Content Security Policy" in entry["message"]]
    assert violations == []


def test_keyboard_reaches_the_button(page, linked):
    links = create_links(linked, buttons={"failed": "Stop"})
    page.get(links["failed"])
    page.switch_to.active_element.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Stop"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    wait_for_heading(page, "Your answer is recorded")
    assert callback(linked, links["run"])["status"] == "failed"


def test_first_of_two_tabs_wins(page, linked):
    links = create_links(linked)
    page.get(links["succeeded"])
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(links["failed"])
    page.find_element(By.TAG_NAME, "button").click()
    wait_for_heading(page, "Your answer is recorded")
    page.close()
    page.switch_to.window(first)
    page.find_element(By.TAG_NAME, "button").click()
    wait_for_heading(page, "Another callback was accepted first")
    assert "with status failed was accepted" in page.find_element(By.TAG_NAME, "main").text
    assert callback(linked, links["run"])["status"] == "failed"
    assert len(linked.engine_changes()) == 1


@pytest.mark.parametrize(("method", "headers"), INSPECTIONS)
def test_opening_a_link_changes_nothing(linked, method, headers):
    links = create_links(linked)
    for link in (links["succeeded"], links["failed"]):
        response = requests.request(method, link, headers=headers, timeout=30)
        assert response.status_code == 200, link
        assert response.headers["cache-control"] == "no-store", link
        assert response.headers["referrer-policy"] == "no-referrer", link
    assert linked.engine_changes() == [] and callback(linked, links["run"]) is None


def test_forged_and_expired_links_have_different_pages(page, linked):
    links = create_links(linked, expires_in=1)
    page.get(links["succeeded"].replace("status=succeeded", "status=failed"))
    wait_for_heading(page, "This link is not genuine")
    # Not even a look.
    assert linked.engine_requests() == []
    while requests.get(links["failed"], timeout=30).status_code == 200:
        pass
    page.get(links["failed"])
    wait_for_heading(page, "This link has expired")
    linked.clear()
    assert requests.post(links["failed"], timeout=30).status_code == 410
    assert linked.engine_requests() == []


# Damages of a link that rejects, by mail programs, templates and people.
DAMAGES = {
    "entity": ("&status", "&amp;status"),
    "encoded entity": ("&status", "&amp%3Bstatus"),
    "numeric entity": ("&status", "&#38;status"),
    "encoded numeric entity": ("&status", "&%2338;status"),
    "twice an entity": ("&status", "&amp;amp;status"),
    "all entities": ("&", "&amp;"),
    "second question mark": ("&status", "?status"),
    "encoded question mark": ("&status", "%3Fstatus"),
    "semicolon": ("&status", ";status"),
    "encoded ampersand": ("&status=", "%26status%3D"),
    "twice encoded": ("&status=", "%2526status%253D"),
    "first capital": ("status", "Status"),
    "capitals": ("status", "STATUS"),
    "another word": ("status", "state"),
    "lost letter": ("status", "statu"),
    "brackets": ("status", "status[]"),
    "quoted-printable": ("status=", "status=3D"),
    "soft line break": ("status", "sta=%0D%0Atus"),
    "line break": ("&status", "&%0Astatus"),
    "raw line break": ("status=", "stat\nus=3D"),
    "quotation": ("&status", "&%0D%0A%3E%20status"),
    "blank": ("&status", "& status"),
    "soft hyphen": ("status", "sta\u00adtus"),
    "zero-width space": ("status", "\u200bstatus"),
    "full-width letters": ("status", "\uff53\uff54\uff41\uff54\uff55\uff53"),
    "full-width ampersand": ("&status", "\uff06status"),
    "Cyrillic letter": ("status", "\u0455tatus"),
    "full stop": ("Failed", "Failed."),
    "bracket": ("Failed", "Failed%3E"),
    "cut value": ("Failed", "Fail"),
    "cut name": ("&status=Failed", "&sta"),
    "cut at the separator": ("&status=Failed", "&"),
    "cut entity": ("&status=Failed", "&amp;"),
}


def waiting_run(sluice) -> str:
    """Starts a run that waits for `approval`."""
    body = {"workflow": "ship", "topic": "approval"}
    return requests.post(f"{sluice.engine}/stand-in/waits", json=body, timeout=30).json()["run"]


def assert_undecided(sluice, run: str):
    assert sluice.engine_changes() == [] and callback(sluice, run) is None
    assert wait_status(sluice, run) == "waiting"


@pytest.mark.parametrize("damage", DAMAGES)
def test_browser_never_approves_with_a_damaged_reject_link(page, sluice, damage):
    run = waiting_run(sluice)
    link = f"{sluice.url}/api/v2/callback?ref={run}&topic=approval&status=Failed"
    damaged = link.replace(*DAMAGES[damage])
    assert damaged != link
    page.get(damaged)
    assert "parameter" in page.find_element(By.TAG_NAME, "body").text
    assert_undecided(sluice, run)


@pytest.mark.parametrize("damage", DAMAGES)
def test_scanner_never_approves_with_a_damaged_reject_link(sluice, damage):
    run = waiting_run(sluice)
    for order in ("ref={run}&topic=approval&status=Failed", "ref={run}&status=Failed&topic=approval"):
        query = order.format(run=run).replace(*DAMAGES[damage])
        if "cut" in damage and not order.endswith("Failed"):
            continue
        for method, headers in INSPECTIONS + [("POST", {}), ("POST", {"content-type": "application/json"})]:
            response = requests.request(method, f"{sluice.url}/api/v2/callback?{query}", headers=headers, timeout=30)
            assert response.status_code == 400, (method, query, response.text)
    assert_undecided(sluice, run)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_signed_link_shows_no_button(page, linked, damage):
    links = create_links(linked)
    old, new = DAMAGES[damage]
    damaged = links["failed"].replace(old.replace("Failed", "failed"), new.replace("Failed", "failed"))
    assert damaged != links["failed"]
    for method, headers in INSPECTIONS:
        response = requests.request(method, damaged, headers=headers, timeout=30)
        assert response.status_code == 403, (method, damaged)
    page.get(damaged)
    wait_for_heading(page, "This link is not genuine")
    assert page.find_elements(By.TAG_NAME, "button") == []
    assert_undecided(linked, links["run"])
