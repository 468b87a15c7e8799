"""The page as a person sees it: in headless Chromium, over a real ledger. Pictures go to `tests/output/page`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlops_sdk.rollout.agent.page.app import create_page
from tests.support.chromium import Window
from tests.support.page import PageProject, duty_states, served

OUTPUT = Path(__file__).parents[1] / "output" / "page"
NARROW = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Page:
    """The page of a project with a history: three releases, a rollback, a deploy that failed."""

    made: PageProject
    address: str


@pytest.fixture
def page(page_project: PageProject) -> Iterator[Page]:
    made, ledger = page_project, page_project.environment.ledger
    made.lock("v0.0.1", "Recommend films by their words", model=1)
    made.lock("v0.0.2", "Rank by what a person liked", model=2)
    made.lock("v0.0.3", "Show fewer films of one director", model=3)
    for tag in ("v0.0.1", "v0.0.2", "v0.0.3"):
        made.deploy(tag)
    made.deploy("v0.0.2", back_from="v0.0.3")
    digest = made.releases.locks["v0.0.3"].digest
    reason = "smoke prediction of reranker differs from the lock's"
    ledger.record("failed", lease=None, digest=digest, actor="ann", reason=reason)
    with served(create_page(made.project, "local", duty_states)) as address:
        yield Page(made, address)


def only_this_machine(browser: Window) -> bool:
    """Whether every request stayed here, and none was refused by the page's own policy."""
    hosts = {urlsplit(address).hostname for address in browser.requested if address.startswith("http")}
    return hosts == {"127.0.0.1"} and not browser.complaints


def test_it_looks_as_it_should_in_light_and_dark_and_on_a_narrow_window(browser: Window, page: Page) -> None:
    colours: dict[bool, str] = {}
    for dark in (False, True):
        for name, size in (("wide", {}), ("narrow", NARROW)):
            browser.look_like(dark=dark, **size)
            browser.open(page.address + "/")
            browser.wait_for("!document.getElementById('fresh').hidden")
            browser.shoot(OUTPUT / f"{name}-{'dark' if dark else 'light'}.png")
            # Nothing sticks out of the window: what is wider scrolls inside its own box.
            assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        colours[dark] = str(browser.run("getComputedStyle(document.body).backgroundColor"))
    light, dark_sum = (
        sum(int(part) for part in colours[dark].removeprefix("rgb(").removesuffix(")").split(","))
        for dark in (False, True)
    )
    assert light > 600 > 150 > dark_sum
    assert only_this_machine(browser)


def test_what_is_live_and_how_to_go_back_stand_in_the_first_window(browser: Window, page: Page) -> None:
    browser.look_like()
    browser.open(page.address + "/")
    assert browser.run("document.querySelector('h1').textContent") == "v0.0.2"
    assert browser.run("document.querySelector('.verdict').textContent") == "healthy"
    assert browser.run("document.getElementById('back-command').textContent") == (
        'mlops rollback local --to v0.0.1 -m "why"'
    )
    for wanted in ("h1", ".verdict", "#back-command"):
        bottom = browser.run(f"document.querySelector({wanted!r}).getBoundingClientRect().bottom")
        assert 0 < bottom < 450


def test_a_keyboard_gets_from_the_skip_link_to_the_comparison(browser: Window, page: Page) -> None:
    browser.look_like()
    browser.open(page.address + "/")
    assert browser.tab() == "Skip to what is live"
    assert (
        browser.run("document.activeElement.getBoundingClientRect().left") >= 0
    )  # it is seen once it has the focus
    browser.press("Enter", 13, text="\r")
    browser.wait_for("document.activeElement.id === 'main'")
    order = [browser.tab() for _ in range(6)]
    assert order == ["copy-back", "model-embedder", "model-reranker", "old", "new", "Compare"]
    outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press("Enter", 13, text="\r")
    browser.wait_for("location.pathname === '/env/local/diff' && !!document.querySelector('table')")
    assert "old=v0.0.1&new=v0.0.2" in browser.run("location.search")
    assert "reranker" in browser.run("document.querySelector('table').textContent")
    browser.shoot(OUTPUT / "diff.png")
    assert only_this_machine(browser)


def test_a_new_entry_appears_without_a_reload_and_leaves_the_focus_where_it_is(
    browser: Window, page: Page
) -> None:
    browser.look_like()
    browser.open(page.address + "/")
    browser.run("window.stillThisPage = true; document.getElementById('model-reranker').focus()")
    browser.run("document.getElementById('old').value = 'v0.0.3'")
    page.made.deploy("v0.0.3")
    page.made.environment.ledger.set_hold(True, lease=None, actor="ann", reason="we look into it")
    browser.wait_for("document.querySelector('h1').textContent === 'v0.0.3'")
    browser.wait_for("document.body.textContent.includes('we look into it')")
    assert browser.run("window.stillThisPage")
    assert browser.run("document.activeElement.id") == "model-reranker"
    assert browser.run("document.getElementById('old').value") == "v0.0.3"


def test_what_is_wrong_stands_above_all_else(browser: Window, page: Page) -> None:
    page.made.down.add("prefect-worker")
    page.made.running.clear()
    browser.look_like()
    browser.open(page.address + "/")
    assert browser.run("document.querySelector('.verdict').textContent") == "does not answer"
    text = browser.run("document.querySelector('.notice.bad').textContent")
    assert "process prefect-worker does not run" in text and "mlops up local" in text
    browser.shoot(OUTPUT / "in-trouble.png")


def test_when_the_agent_is_gone_the_page_says_that_it_is_old(
    browser: Window, page_project: PageProject
) -> None:
    with served(create_page(page_project.project, "local", duty_states)) as address:
        browser.open(address + "/")
        browser.wait_for("!document.getElementById('fresh').hidden")
        assert browser.run("document.getElementById('lost').hidden")
    browser.wait_for("!document.getElementById('lost').hidden")
    assert "what is shown below is old" in browser.run("document.getElementById('lost').textContent")
