"""Callback links in a real browser, and by those who only open them."""

import pytest
import requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from conftest import heading

OPERATOR = {"authorization": "Bearer op3rator"}
# What mail programs and scanners send when they look at a link.
LOOKS = [
    ("GET", {}),
    ("GET", {"accept": "text/html", "user-agent": "Mozilla/5.0 (compatible; scanner)"}),
    ("GET", {"sec-purpose": "prefetch;prerender"}),
    ("HEAD", {}),
]


def links(sluice, **more) -> dict:
    waits = requests.post(f"{sluice.engine}/stand-in/waits", json={"workflow": "ship", "topic": "approval"}, timeout=30)
    run = waits.json()["run"]
    wish = {"ref": run, "topic": "approval", "question": "Ship <em>1.2</em>?", **more}
    answer = requests.post(f"{sluice.url}/api/v2/callback-links", headers=OPERATOR, json=wish, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json() | {"run": wish["ref"]}


def callback(sluice, run: str):
    answer = requests.get(f"{sluice.url}/api/v2/callbacks/{run}?topic=approval", headers=OPERATOR, timeout=30)
    return answer.json() if answer.status_code == 200 else None


def wait_of(sluice, run: str) -> str:
    """How the engine sees the task that waits."""
    runs = requests.get(f"{sluice.engine}/stand-in/runs", timeout=30).json()["runs"]
    [wait] = next(listed for listed in runs if listed["id"] == run)["waits"]
    return wait["status"]


def test_a_person_answers_by_the_button(page, linked):
    made = links(linked)
    page.get_log("browser")
    page.get(made["succeeded"])
    heading(page, "Ship <em>1.2</em>?")
    button = page.find_element(By.TAG_NAME, "button")
    assert button.text == "Approve"
    # The style is one that the policy lets through.
    assert button.value_of_css_property("font-weight") == "600"
    assert linked.sent() == [] and callback(linked, made["run"]) is None
    assert wait_of(linked, made["run"]) == "waiting"

    button.click()
    heading(page, "Your answer is recorded")
    assert linked.only_sent()["path"] == f"/api/v1/workflowrun/{made['run']}/event"
    answer = callback(linked, made["run"])
    assert (answer["status"], answer["state"]) == ("succeeded", "delivered")
    assert wait_of(linked, made["run"]) == "succeeded"

    # Pressed once more, by the button of another tab: nothing is sent twice.
    page.refresh()
    heading(page, "This was answered already")
    page.get(made["failed"])
    heading(page, "Another callback was first")
    assert "succeeded" in page.find_element(By.TAG_NAME, "main").text
    assert page.find_elements(By.TAG_NAME, "button") == []
    assert len(linked.sent()) == 1
    refused = [entry for entry in page.get_log("browser") if "Content Security Policy" in entry["message"]]
    assert refused == []


def test_the_keyboard_is_enough(page, linked):
    made = links(linked, buttons={"failed": "Stop"})
    page.get(made["failed"])
    page.switch_to.active_element.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Stop"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    heading(page, "Your answer is recorded")
    assert callback(linked, made["run"])["status"] == "failed"


def test_two_tabs_and_one_answer(page, linked):
    made = links(linked)
    page.get(made["succeeded"])
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    page.get(made["failed"])
    page.find_element(By.TAG_NAME, "button").click()
    heading(page, "Your answer is recorded")
    page.close()
    page.switch_to.window(first)
    page.find_element(By.TAG_NAME, "button").click()
    heading(page, "Another callback was first")
    assert "ended as failed" in page.find_element(By.TAG_NAME, "main").text
    assert callback(linked, made["run"])["status"] == "failed"
    assert len(linked.sent()) == 1


@pytest.mark.parametrize(("method", "headers"), LOOKS)
def test_to_open_a_link_changes_nothing(linked, method, headers):
    made = links(linked)
    for link in (made["succeeded"], made["failed"]):
        answer = requests.request(method, link, headers=headers, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert linked.sent() == [] and callback(linked, made["run"]) is None


def test_forged_and_expired_links_are_told_apart(page, linked):
    made = links(linked, expires_in=1)
    page.get(made["succeeded"].replace("status=succeeded", "status=failed"))
    heading(page, "This link is not genuine")
    while requests.get(made["failed"], timeout=30).status_code == 200:
        pass
    page.get(made["failed"])
    heading(page, "This link has expired")
    assert requests.post(made["failed"], timeout=30).status_code == 410
    assert linked.sent() == []
