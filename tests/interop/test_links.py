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
