"""The pages that people use, of a real service, in a real browser."""

from __future__ import annotations

import contextlib
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
import requests
from playwright.sync_api import expect

from loadtest import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page, Request, Route

    from loadtest.serve import Service

    Serve = Callable[..., Service]

FAILED = "Failed to load resource"
"""What the browser says by itself of every reply that is an error; the page has no say in it."""
BUSY = {"type": "urn:turnstile:problem:busy", "title": "The counter is busy", "status": 503, "detail": "try again"}

WORDS_OF_OTHERS = [
    (201, '{"order": "x", "status": "sold", "tick'),
    (200, '{"welcome": "to this hotel"}'),
    (404, "<h1>Not found</h1>"),
    (503, "<h1>No backend</h1>"),
]
"""Replies that break off, or that something in between has made: none of them says what the service did."""


@contextlib.contextmanager
def visit(context: Browser | BrowserContext, url: str, script: str = "", **how: Any) -> Iterator[Page]:  # noqa: ANN401  # as Playwright
    """Open a page; at the end, nothing may have been said on the console, such as that the policy forbids something."""
    page = context.new_page(**how)
    page.add_init_script(script)
    said: list[str] = []
    page.on("console", lambda message: None if message.text.startswith(FAILED) else said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    yield page
    page.close()
    assert said == []


def said(page: Page, text: str) -> None:
    expect(page.locator("#said")).to_have_text(text)


def place(page: Page, quantity: int, button: str = "Buy now", ttl_s: int = 120) -> None:
    expect(page.locator("#count")).to_have_text(
        re.compile(".")
    )  # its program runs: else the button would lead elsewhere
    page.get_by_label("How many").fill(str(quantity))
    page.get_by_label("Hold for").fill(str(ttl_s))
    page.get_by_role("button", name=button, exact=True).click(no_wait_after=True)  # it leads nowhere else


def cell(page: Page, ticket: int, words: str) -> None:
    expect(page.locator("#grid").get_by_role("button", name=f"ticket {ticket}, {words}", exact=True)).to_be_visible()


def answering(status: int, body: str, **headers: str) -> Callable[[Route], None]:
    """Return what answers in place of the service."""

    def answer(route: Route) -> None:
        route.fulfill(status=status, body=body, headers={name.replace("_", "-"): one for name, one in headers.items()})

    return answer


def looked(service: Service) -> dict[str, Any]:
    seen: dict[str, Any] = requests.get(f"{service.url}/tickets", timeout=10).json()
    return seen


def posts(page: Page) -> list[Request]:
    """Return a list that gets every POST and DELETE of the page."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request) if request.method in {"POST", "DELETE"} else None)
    return seen


def keys(requests: list[Request]) -> list[str]:
    return [request.headers["idempotency-key"] for request in requests]


def test_every_file_comes_with_a_strict_policy_and_only_when_it_is_new(served: Serve) -> None:
    """Nothing may run or load but what comes from here; who has a file is told so; and no other is served."""
    service = served("group_commit")
    files = [f"/web/{file.name}" for file in (resources.files("service") / "web").iterdir()]
    assert len(files) > 10
    for path in ["/", "/lab", "/docs", *files]:
        reply = requests.get(service.url + path, timeout=10)
        assert reply.status_code == 200
        policy = dict(each.split(" ", 1) for each in reply.headers["Content-Security-Policy"].split("; "))
        assert policy.pop("require-trusted-types-for") == "'script'"
        assert {name for name, allowed in policy.items() if allowed == "'self'"} == {
            "script-src", "style-src", "connect-src", "img-src",
        }  # fmt: skip
        assert {name for name, allowed in policy.items() if allowed == "'none'"} == {
            "default-src", "base-uri", "form-action", "frame-ancestors",
        }  # fmt: skip
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        again = requests.get(service.url + path, headers={"If-None-Match": reply.headers["ETag"]}, timeout=10)
        assert (again.status_code, again.content) == (304, b"")
        assert "Content-Security-Policy" in again.headers
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://(?!www\.w3\.org)", reply.text)
    for path in ("/web/none.js", "/web/..%2fapp.py", "/web/"):
        assert requests.get(service.url + path, timeout=10).headers["Content-Type"] == "application/problem+json"


def test_two_visitors_race_for_the_last_ticket(served: Serve, browser: Browser) -> None:
    """One gets it, the other is told in words that it is gone; both pages show the same afterwards."""
    service = served("group_commit", tickets=1)
    with visit(browser, service.url) as one, visit(browser, service.url) as other:
        held: list[Route] = []
        for page in (one, other):
            page.route("**/buy", lambda route: held.append(route))  # noqa: PLW0108  # a handler has a signature
            place(page, 1)
            said(page, "Buying 1 ticket …")
        expect(one.locator("#pending")).to_contain_text("Buying 1 ticket")
        for route in held:
            route.continue_()
        ends = {"You have bought ticket 1.", "No ticket is left. Nothing was bought."}
        for page in (one, other):
            expect(page.locator("#said")).to_have_text(re.compile("|".join(map(re.escape, ends))))
            expect(page.locator("#count")).to_have_text("0")
        assert {page.locator("#said").inner_text() for page in (one, other)} == ends
        assert sorted(page.locator(".card.sold").count() for page in (one, other)) == [0, 1]
        winner, loser = (one, other) if one.locator(".card").count() else (other, one)
        cell(winner, 1, "yours")
        cell(loser, 1, "sold")


def test_a_hold_counts_down_and_comes_back(served: Serve, browser: Browser) -> None:
    """Its owner sees the time that is left and then that it is over; the other visitor sees the tickets come back.

    The clocks of browsers are wrong: this one by an hour.
    """
    service = served("group_commit")
    slow = "const now = Date.now; Date.now = () => now() - 3_600_000;"
    with visit(browser, service.url, slow) as mine, visit(browser, service.url) as theirs:
        place(mine, 2, "Hold", ttl_s=9)  # more than a busy machine takes to show it to both
        said(mine, "You hold tickets 1 and 2.")
        expect(mine.get_by_role("timer")).to_have_text(re.compile("0:0[1-9]"))
        cell(mine, 2, "held by you")
        cell(theirs, 2, "held by somebody")
        expect(theirs.locator("#count")).to_have_text("8")
        expect(mine.locator(".card.expired")).to_contain_text("time was over")
        expect(mine.get_by_role("button", name="Confirm")).to_be_hidden()
        for page in (mine, theirs):
            cell(page, 2, "free")
            expect(page.locator("#count")).to_have_text("10")


def test_a_hold_that_is_confirmed_too_late_is_not_shown_as_bought(served: Serve, browser: Browser) -> None:
    """The service decides, not the clock of the page; and the page says what that means."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        place(page, 1, "Hold", ttl_s=5)  # as above
        late: list[Route] = []
        page.route("**/confirm", lambda route: late.append(route))  # noqa: PLW0108  # as above
        page.get_by_role("button", name="Confirm").click()
        expect(page.locator(".card.expired")).to_be_visible()
        late[0].continue_()
        said(page, "The time of this hold was over, so its tickets can be sold again. You have not bought them.")
        expect(page.locator(".card.sold")).to_have_count(0)


def test_the_service_is_restarted_under_an_open_page(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that there is no answer, and recovers by itself; an order of before is still there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "default.json").write_text('{"count": 10}')
    port = serve.free_port()
    monkeypatch.setattr(serve, "free_port", lambda: port)
    flags: dict[str, object] = {"mode": "group_commit", "workers": 2}
    with contextlib.ExitStack() as stack:
        with serve.service(tmp_path, flags) as service:
            page = stack.enter_context(visit(browser, service.url))
            place(page, 3)
            said(page, "You have bought tickets 1 to 3.")
            assert looked(service)["count"] == 7
        expect(page.locator("#down")).to_contain_text("has not answered since")
        place(page, 2)
        expect(page.locator("#pending")).to_contain_text("No clear answer came, asking again")
        expect(page.locator(".card.sold")).to_have_count(1)
        with serve.service(tmp_path, flags) as service:
            expect(page.locator("#down")).to_be_empty()
            expect(page.locator(".card.sold")).to_have_count(2)
            expect(page.locator("#pending > *")).to_have_count(0)
            expect(page.locator("#count")).to_have_text("5")
            assert looked(service)["count"] == 5
            page.reload()
            expect(page.locator(".card.sold")).to_have_count(2)


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_purchase_whose_reply_was_lost_is_settled_by_its_key(served: Serve, browser: Browser, reloaded: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """It is shown as not known, asked again with the same key, also by the page as it is reloaded, and sold once."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        asked = posts(page)
        lost: list[Route] = []

        def lose(route: Route) -> None:
            if not lost:
                route.fetch()
            lost.append(route)
            route.abort()

        page.route("**/buy", lose)
        place(page, 3)
        expect(page.locator("#pending")).to_contain_text("No clear answer came, asking again")
        expect(page.locator("#count")).to_have_text("7")
        expect(page.locator(".card.sold")).to_have_count(0)
        page.unroute("**/buy")
        if reloaded:
            page.reload()
        expect(page.locator(".card.sold")).to_contain_text("Tickets 1 to 3")
        expect(page.locator("#pending > *")).to_have_count(0)
        assert len(asked) >= 2
        assert len(set(keys(asked))) == 1
        assert looked(service)["count"] == 7


def test_what_was_not_done_is_told_from_what_nobody_knows(served: Serve, browser: Browser) -> None:
    """After "busy" alone nothing is left open; "busy" after a lost reply does not say that nothing was done."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        asked = posts(page)
        busy = answering(503, json.dumps(BUSY), Retry_After="60", Content_Type="application/problem+json")
        page.route("**/buy", busy)
        place(page, 1)
        expect(page.locator("#pending")).to_contain_text("The service is busy, asking again")
        page.get_by_role("button", name="Stop asking").click()
        said(page, "The service had no time for it. Nothing was bought.")
        expect(page.locator("#pending > *")).to_have_count(0)

        page.unroute("**/buy")
        page.route("**/buy", busy)
        page.route("**/buy", answering(500, "<h1>Bad gateway</h1>"), times=1)
        page.reload()
        place(page, 1)
        expect(page.locator("#pending")).to_contain_text("asking again")
        expect(page.locator("#pending")).to_contain_text("The service is busy")
        page.get_by_role("button", name="Stop asking").click()
        expect(page.locator("#said")).to_contain_text("nobody here knows whether it was done")
        page.unroute("**/buy")
        page.get_by_role("button", name="Ask again").click()
        said(page, "You have bought ticket 1.")
        assert len(set(keys(asked))) == 2
        assert looked(service)["count"] == 9


def test_what_was_open_when_the_page_was_left_is_in_doubt(served: Serve, browser: Browser) -> None:
    """It may have been done before the page was there again, so that "busy" is not the last word."""
    service = served("group_commit")
    busy = answering(503, json.dumps(BUSY), Retry_After="60", Content_Type="application/problem+json")
    with visit(browser, service.url) as page:
        page.route("**/buy", lambda route: (route.fetch(), None)[1])
        place(page, 1)
        expect(page.locator("#count")).to_have_text("9")
        kept = page.evaluate("Object.values({...localStorage}).map(JSON.parse)")
        assert [one["doubt"] for one in kept] == [True]  # also for a browser that ends without a word
        page.route("**/buy", busy)
        page.reload()
        expect(page.locator("#pending")).to_contain_text("The service is busy")
        page.get_by_role("button", name="Stop asking").click()
        expect(page.locator("#said")).to_contain_text("nobody here knows whether it was done")


def test_half_a_reply_is_no_sale_and_a_strangers_is_no_refusal(served: Serve, browser: Browser) -> None:
    """Only the service says what was done and what was not; all else is not known until it has said so."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        for before, (status, body) in enumerate(WORDS_OF_OTHERS):
            page.route("**/buy", answering(status, body))
            place(page, 1)
            expect(page.locator("#pending")).to_contain_text("No clear answer came, asking again")
            expect(page.locator(".card.sold")).to_have_count(before)
            page.get_by_role("button", name="Stop asking").click()
            expect(page.locator("#said")).to_contain_text("nobody here knows")
            page.unroute("**/buy")
            page.reload()
            expect(page.locator("#pending > *")).to_have_count(0)
        expect(page.locator(".card.sold")).to_have_count(len(WORDS_OF_OTHERS))
        assert looked(service)["count"] == 10 - len(WORDS_OF_OTHERS)


def test_a_key_that_the_service_may_have_forgotten_is_not_asked_again(served: Serve, browser: Browser) -> None:
    """After 24 hours it would be a new order. It can only be forgotten here."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        left = {"key": "k", "kind": "buy", "event": "default", "quantity": 2, "at": 0, "doubt": True}
        page.evaluate("left => localStorage.setItem('turnstile:pending:k', JSON.stringify(left))", left)
        asked = posts(page)
        page.reload()
        expect(page.locator("#pending")).to_contain_text("a second time")
        page.get_by_role("button", name="Forget it").click()
        expect(page.locator("#pending > *")).to_have_count(0)
        page.reload()
        expect(page.locator("#count")).to_have_text("10")
        expect(page.locator("#pending > *")).to_have_count(0)
        assert asked == []


def test_refusals_are_said_in_plain_words(served: Serve, browser: Browser) -> None:
    """How many are left, what was asked for, and that nothing was bought."""
    service = served("group_commit", tickets=3)
    with visit(browser, service.url) as page:
        place(page, 5)
        said(page, "Only 3 are left, and you asked for 5. Nothing was bought.")
        place(page, 2, "Hold")
        said(page, "You hold tickets 1 and 2.")
        place(page, 2, "Hold")
        said(page, "Only 1 is left, and you asked for 2. Nothing was held.")
        order = page.locator("li.card").first.get_attribute("data-order")

        def overtake(route: Route) -> None:
            requests.delete(f"{service.url}/orders/{order}", timeout=10)
            route.continue_()

        page.route("**/confirm", overtake)
        page.get_by_role("button", name="Confirm").click()
        said(page, "This order was cancelled before, so it cannot be confirmed.")
        expect(page.locator(".card.cancelled")).to_be_visible()


def test_all_can_be_done_with_the_keyboard(served: Serve, browser: Browser) -> None:
    """Buy, hold, confirm and cancel, and look at tickets, with the focus always in sight."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        cell(page, 10, "free")

        def tab_to(name: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                focused = page.locator(":focus")
                if focused.count() and (focused.get_attribute("id") == name or focused.inner_text() == name):
                    assert focused.evaluate("each => getComputedStyle(each).outline").endswith(" solid 3px")
                    expect(focused).to_be_in_viewport()
                    return
            pytest.fail(f"the Tab key does not reach {name}")

        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_in_viewport()
        tab_to("quantity")
        page.keyboard.type("2")
        page.keyboard.press("Enter")
        said(page, "You have bought tickets 1 and 2.")
        tab_to("Hold")
        page.keyboard.press("Enter")
        expect(page.locator(".card.held")).to_have_count(1)
        page.keyboard.press("Space")
        expect(page.locator(".card.held")).to_have_count(2)
        tab_to("Confirm")
        page.keyboard.press("Enter")
        expect(page.locator(".card.held")).to_have_count(1)
        expect(page.locator("li.card:focus")).to_have_count(1)
        once = page.locator(".card.sold").get_by_role("button", name="Give back", exact=True)
        expect(once).to_have_count(0)
        tab_to("Give back …")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        expect(page.locator(".card.cancelled")).to_have_count(0)
        page.keyboard.press("Enter")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".card.cancelled")).to_have_count(1)
        tab_to("1")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#line")).to_have_text("Ticket 2 is yours.")
        page.keyboard.press("End")
        expect(page.locator("#line")).to_have_text("Ticket 10 is free.")


def test_another_visitors_purchase_is_shown_within_two_seconds(served: Serve, browser: Browser) -> None:
    """Without a reload, by the page's own clock, which stands still here but for those two seconds."""
    service = served("group_commit")
    with visit(browser, "about:blank") as page:
        page.clock.install()
        page.goto(service.url)
        cell(page, 1, "free")
        page.clock.pause_at(page.evaluate("Date.now() + 5000"))
        expect(page.locator("#count")).to_have_text("10")
        requests.post(f"{service.url}/buy", json={"quantity": 4}, timeout=10)
        page.clock.run_for(2000)
        cell(page, 4, "sold")
        expect(page.locator("#count")).to_have_text("6")
        page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
        page.clock.run_for(2000)
        looks: list[str] = []
        page.on("request", lambda request: looks.append(request.url))
        page.clock.run_for(30_000)
        assert looks == []
        requests.post(f"{service.url}/buy", json={"quantity": 1}, timeout=10)
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        cell(page, 5, "sold")


def test_two_tabs_do_not_lose_each_others_orders(served: Serve, browser: Browser) -> None:
    """Both remember at once, and both show all orders; as does a tab that is opened later."""
    service = served("group_commit")
    context = browser.new_context()
    with visit(context, service.url) as one, visit(context, service.url) as other:
        place(one, 1)
        place(other, 2)
        for page in (one, other):
            expect(page.locator(".card.sold")).to_have_count(2)
        with visit(context, service.url) as third:
            expect(third.locator(".card.sold")).to_have_count(2)
    context.close()


def test_another_event_has_a_page_of_its_own(served: Serve, browser: Browser) -> None:
    """It can be chosen, its orders stand there and nowhere else, and one that is not there is said to be so."""
    service = served("group_commit")
    admin = {"Authorization": f"Bearer {service.token}"}
    requests.put(f"{service.url}/events/concert", json={"capacity": 5}, headers=admin, timeout=10)
    with visit(browser, service.url) as page:
        page.get_by_label("Another event").select_option("concert")
        expect(page.get_by_role("heading", level=1)).to_have_text("concert")
        expect(page.locator("#of")).to_have_text("of 5 tickets left")
        place(page, 5)
        said(page, "You have bought tickets 1 to 5.")
        expect(page.locator("#of")).to_have_text("left: all 5 are taken")
        page.goto(service.url)
        expect(page.locator("#count")).to_have_text("10")
        expect(page.locator("#none")).to_be_visible()
        page.goto(f"{service.url}/?event=<b>none</b>")
        expect(page.locator("#of")).to_have_text("there is no such event")
        expect(page.get_by_role("heading", level=1)).to_have_text("<b>none</b>")


def test_who_comes_to_an_event_that_is_not_there_can_choose_one_that_is(served: Serve, browser: Browser) -> None:
    """The only one too; and "there is none" is an answer of the service, which ends its silence."""
    looks = "**/events/nosuch"
    with visit(browser, f"{served('group_commit').url}/?event=nosuch") as page:
        expect(page.locator("#of")).to_have_text("there is no such event")
        page.route(looks, lambda route: route.abort())
        expect(page.locator("#down")).to_contain_text("has not answered since")
        page.unroute(looks)
        expect(page.locator("#down")).to_be_empty()
        page.get_by_label("Another event").select_option("default")
        expect(page.get_by_role("heading", level=1)).to_have_text("default")


def test_an_order_that_the_service_does_not_know_is_not_shown_as_bought(served: Serve, browser: Browser) -> None:
    """What the browser remembers is checked against the service when the page is opened."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        order = {"id": f"{'0' * 32}", "event": "default", "status": "sold", "tickets": [1], "version": 1, "at": 0}
        page.evaluate("order => localStorage.setItem('turnstile:order:' + order.id, JSON.stringify(order))", order)
        page.reload()
        expect(page.locator(".card.unknown")).to_contain_text("not known to the service")
        cell(page, 1, "free")


@pytest.mark.parametrize("path", ["/", "/lab"])
def test_a_million_tickets_fit_on_a_telephone(served: Serve, browser: Browser, path: str) -> None:
    """Part by part, and nothing is wider than the screen."""
    service = served("group_commit", tickets=1_000_000)
    with visit(browser, service.url + path, viewport={"width": 360, "height": 700}) as page:
        if path == "/":
            cell(page, 500, "free")
            page.get_by_label("Go to ticket").fill("777777")
            page.keyboard.press("Enter")
            cell(page, 777_777, "free")
            assert page.locator("#grid > *").count() == 500
            page.get_by_role("button", name="Later").click()
            expect(page.locator("#part")).to_have_text("778,001 to 778,500 of 1,000,000")
        else:
            page.get_by_role("button", name="Start 20 buyers").click()
            expect(page.locator("#happened")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_lab_shows_tickets_that_were_sold_twice(served: Serve, browser: Browser) -> None:
    """In red, with all their owners, where nothing keeps buyers apart; and says that it went wrong."""
    service = served("no_lock", tickets=100, think_s=0.05)
    with visit(browser, f"{service.url}/lab") as page:
        expect(page.locator("#claim")).to_contain_text("It keeps nobody apart")
        page.get_by_role("button", name="Start 20 buyers").click()
        expect(page.locator("#said")).to_contain_text("It went wrong")
        expect(page.locator("#said")).to_contain_text("no_lock promises nothing, and here is what that means.")
        twice = page.locator("#tickets .twice")
        assert twice.count() > 0
        red, *_ = map(int, re.findall(r"\d+", twice.first.evaluate("each => getComputedStyle(each).color")))
        assert red > 150
        expect(twice.first).to_have_attribute("title", re.compile(r"sold \d+ times: buyers \d+"))
        assert page.locator("#buyers tr").count() == 20


def test_the_lab_finds_nothing_where_buyers_are_kept_apart(served: Serve, browser: Browser) -> None:
    """Each ticket has one owner, the sums are right, and what was bought can be given back."""
    service = served("group_commit", tickets=100, think_s=0.05)
    with visit(browser, f"{service.url}/lab") as page:
        page.get_by_role("button", name="Start 20 buyers").click()
        expect(page.locator("#said")).to_contain_text("Nothing went wrong")
        assert page.locator("#tickets .twice, .bad").count() == 0
        sold = page.locator("#tickets .once").count()
        assert sold == 100 - looked(service)["count"] > 0
        expect(page.locator("#sums")).to_have_text(
            f"100 were left before, {sold} were sold, and {100 - sold} are left: right."
        )
        page.get_by_role("button", name="Give their tickets back").click()
        said(page, f"The service says that {sold} tickets were given back.")
        assert looked(service)["count"] == 100


FINDINGS: dict[str, tuple[int, tuple[int, int], list[tuple[list[int], int]], dict[str, Any]]] = {
    # version before, count and version after, (tickets, version) of each buyer
    "right": (3, (7, 5), [([1, 2], 4), ([3], 5)], {"twice": [], "versions": [], "wrong": False}),
    "sold twice": (0, (7, 2), [([1, 2], 1), ([2], 2)], {"twice": [2], "versions": [], "wrong": True}),
    "told twice": (0, (8, 2), [([1], 1), ([2], 1)], {"twice": [], "versions": [1], "wrong": True}),
    "sold and left": (0, (9, 2), [([1], 1), ([2], 2)], {"twice": [], "versions": [], "wrong": True}),
    "no trace": (0, (8, 1), [([1], 1), ([2], 2)], {"twice": [], "versions": [], "wrong": True}),
    "others": (0, (5, 3), [([1], 2)], {"twice": [], "versions": [], "wrong": False}),
}


def test_the_lab_finds_what_is_wrong_and_nothing_else(served: Serve, browser: Browser) -> None:
    """For each way in which a run can go, also where others bought meanwhile and the sums cannot be told."""
    service = served("group_commit")
    with visit(browser, f"{service.url}/lab") as page:
        find = "async (seen) => (await import('/web/findings.js')).found(...seen)"
        for name, (version, (left, last), told, expected) in FINDINGS.items():
            before, after = {"count": 10, "version": version}, {"count": left, "version": last}
            buys = [
                {"buyer": number, "kind": "done", "tickets": tickets, "version": made}
                for number, (tickets, made) in enumerate(told, 1)
            ]
            seen = page.evaluate(find, [before, after, buys])
            assert {key: seen[key] for key in expected} == expected, name
            assert (seen["sums"]["state"] == "unclear") == (name == "others"), name
        lost = [{"buyer": 1, "kind": "unknown", "tickets": [], "version": None}]
        seen = page.evaluate(find, [before, before, lost])
        assert (seen["wrong"], seen["sums"]["state"]) == (False, "unclear")


def test_the_clock_of_the_service_is_found_from_whole_seconds(served: Serve, browser: Browser) -> None:
    """Each reply bounds the difference from both sides, and a clock that is set anew makes it start again."""
    service = served("group_commit")
    with visit(browser, f"{service.url}/lab") as page:
        off = """async (skew) => {
            const { Clock } = await import('/web/clock.js');
            const clock = new Clock();
            const note = (at, skew) => {
                const made = at + 10 + skew;
                clock.note(new Date(made - made % 1000).toUTCString(), at, at + 20);
            };
            const now = Date.now();
            for (let each = 0; each < 40; each += 1) note(now + each * 1030, skew);
            const error = clock.now() - Date.now() - skew;
            note(now + 60_000, skew + 3_600_000);
            return [error, clock.now() - Date.now() - skew - 3_600_000];
        }"""
        for skew in (0, 7_300, -86_400_000):
            error, after = page.evaluate(off, skew)
            assert abs(error) < 60
            assert abs(after) < 600


def test_keys_are_made_where_the_browser_does_not_trust_the_connection(served: Serve, browser: Browser) -> None:
    """``crypto.randomUUID`` is not there over plain HTTP from another host; a key is 128 random bits all the same."""
    service = served("group_commit")
    with visit(browser, service.url) as page:
        page.evaluate("crypto.randomUUID = undefined")
        asked = posts(page)
        place(page, 1)
        said(page, "You have bought ticket 1.")
        place(page, 1)
        said(page, "You have bought ticket 2.")
        assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys(asked))
        assert len(set(keys(asked))) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(served: Serve, browser: Browser, scheme: str) -> None:
    """Names, roles, contrast and more: no violation on either page, in the states that a visitor meets."""
    axe = (resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
    service = served("no_lock", tickets=600, think_s=0.05)
    how = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with visit(browser, service.url, **how) as page, visit(browser, f"{service.url}/lab", **how) as lab:
        requests.post(f"{service.url}/buy", json={"quantity": 3}, timeout=10)
        requests.post(f"{service.url}/events/default/holds", json={"quantity": 3, "ttl_s": 600}, timeout=10)
        place(page, 2)
        expect(page.locator(".card.sold")).to_have_count(1)
        place(page, 2, "Hold")
        expect(page.locator(".card.held")).to_have_count(1)
        page.locator(".card.sold").get_by_role("button", name="Give back …").click()
        page.route("**/*", lambda route: route.abort())
        place(page, 1)
        expect(page.locator("#pending")).to_contain_text("asking again")
        expect(page.locator("#down")).not_to_be_empty()
        lab.get_by_role("button", name="Start 20 buyers").click()
        expect(lab.locator("#happened")).to_be_visible()
        for each in (page, lab):
            each.evaluate(axe)
            found = each.evaluate("axe.run()")
            assert [
                (one["id"], one["help"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]
            ] == []
            assert len(found["passes"]) > 20
