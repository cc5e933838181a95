"""The pages as routes: who gets in, that nothing changes, that everything is text, and what every answer carries."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from support.sights import NOW, FakeView, a_bridge, a_sight, a_task, an_agent, hostile_sight

from coordinator.core.agent import Agent, AgentRecord, AgentSpec, Role, Token
from coordinator.core.machine import State
from coordinator.core.scheduler import Why
from coordinator.web.app import make_app
from coordinator.web.auth import Doorkeeper, digest
from dashboard import pages
from dashboard.door import COOKIE, make_key
from dashboard.guard import Guard
from dashboard.rendering import ASSETS, asset
from dashboard.snapshot import DAY_MS, HOUR_MS
from dashboard.view import Document, Event, Item

ADMIN = "ac_admin"
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "hub.example:4000"}
EVENTS = tuple(
    Event(
        f"{number:040x}",
        NOW - number * 1000,
        "Ada <b>",
        f"t-0: <i>{number}</i>",
        "created",
        "t-0",
        "a-0",
        1,
        "<u>why</u>",
    )
    for number in range(60)
)
ADDRESSES = (
    "/dashboard",
    "/dashboard/tasks?view=all",
    "/dashboard/task/t-0",
    "/dashboard/agents",
    "/dashboard/agent/a-0",
    "/dashboard/backlog",
    "/dashboard/activity",
    "/dashboard/problems",
    "/dashboard/nothing/here",
)


@pytest.fixture
def view() -> FakeView:
    return FakeView(hostile_sight(), EVENTS)


@pytest.fixture
def client(view: FakeView) -> Iterator[FlaskClient]:
    agents = {
        str(role): Agent(AgentSpec(str(role), role=role, tokens=(Token(digest(f"ac_{role}")),)), AgentRecord(str(role)))
        for role in Role
    }
    keeper = Doorkeeper(agents, ADMIN)
    with a_bridge() as bridge:
        guard = Guard(ADMIN, keeper, view.now)
        app = make_app(keeper, view.now, bridge, [pages.blueprint(view, bridge, guard)])
        yield app.test_client()


# --- what every answer carries


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_forbids_what_does_not_come_from_here(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == (404 if "nothing" in address else 200)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.content_type == "text/html; charset=utf-8"


class _Reader(HTMLParser):
    """Notes what a browser would run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("address", ADDRESSES)
def test_whatever_people_write_is_text_on_every_page(client: FlaskClient, address: str) -> None:
    reader = _Reader()
    reader.feed(client.get(address).get_data(as_text=True))
    for tag, attrs in reader.found:
        assert tag not in ("img", "iframe", "object", "style", "b", "i", "u", "video"), (tag, attrs)
        assert tag != "svg" or "viewbox" in attrs
        assert not [name for name in attrs if name.startswith("on") or name == "style"], (tag, attrs)
        if tag == "script":
            assert (attrs.get("src") or "").startswith("/dashboard/static/")
        assert not (attrs.get("href") or "").lower().startswith(("javascript:", "data:", "//"))


@pytest.mark.parametrize("address", ADDRESSES[:1] + ADDRESSES[1:8])
def test_every_page_says_as_of_when_and_refreshes_itself_without_scripts(client: FlaskClient, address: str) -> None:
    text = client.get(address).get_data(as_text=True)
    assert "As of <time" in text
    assert "2027-01-15 08:00:00 UTC" in text
    assert '<noscript><meta http-equiv="refresh"' in text


def test_the_files_of_a_page_have_names_that_say_what_is_in_them_and_are_kept_for_ever(client: FlaskClient) -> None:
    for path in ASSETS:
        answer = client.get(asset(path))
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get("/dashboard/static/style-000000000000.css").status_code == 404
    assert client.get("/dashboard/static/..%2f..%2fpages.py").status_code == 404


# --- nothing changes


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"])
def test_no_route_takes_anything_but_get(client: FlaskClient, method: str) -> None:
    rules = [rule for rule in client.application.url_map.iter_rules() if "dashboard" in rule.rule]
    assert len(rules) > 10
    for rule in rules:
        assert rule.methods is not None
        assert rule.methods <= {"GET", "HEAD", "OPTIONS"}
    for address in (*ADDRESSES, "/dashboard/enter", asset("style.css")):
        answer = client.open(address, method=method, headers={"Authorization": f"Bearer {ADMIN}"})
        assert answer.status_code == 405


# --- who gets in


def test_on_this_machine_nobody_needs_a_token(client: FlaskClient) -> None:
    assert client.get("/dashboard").status_code == 200


@pytest.mark.parametrize("address", ADDRESSES)
def test_elsewhere_a_page_asks_for_a_link(client: FlaskClient, address: str) -> None:
    answer = client.get(address, environ_overrides=ELSEWHERE)
    assert answer.status_code == 401
    text = answer.get_data(as_text=True)
    assert "agentcom dashboard link" in text
    assert "t-0" not in text


def test_a_name_that_is_not_this_machines_is_not_local(client: FlaskClient) -> None:
    assert client.get("/dashboard", headers={"Host": "evil.example"}).status_code == 401


@pytest.mark.parametrize("token", [ADMIN, "ac_reader", "ac_agent", "ac_coordinator"])
def test_a_program_shows_its_token(client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/dashboard", environ_overrides=ELSEWHERE, headers=headers).status_code == 200
    headers = {"Authorization": "Bearer ac_wrong"}
    assert client.get("/dashboard", environ_overrides=ELSEWHERE, headers=headers).status_code == 401


def test_a_link_gives_a_cookie_that_is_good_for_these_pages_alone(client: FlaskClient) -> None:
    key = make_key(ADMIN, NOW + 1000_000)
    answer = client.get(f"/dashboard/enter?key={key}", environ_overrides=ELSEWHERE)
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    for part in (f"{COOKIE}={key}", "HttpOnly", "Path=/dashboard", "SameSite=Strict"):
        assert part in cookie
    shown = {"Cookie": f"{COOKIE}={key}"}
    assert client.get("/dashboard/tasks", environ_overrides=ELSEWHERE, headers=shown).status_code == 200
    assert client.get("/api/dashboard/state", environ_overrides=ELSEWHERE, headers=shown).status_code == 401
    assert client.post("/dashboard", environ_overrides=ELSEWHERE, headers=shown).status_code == 405


@pytest.mark.parametrize("key", ["", "1.2", make_key("ac_other", NOW + 1000_000), make_key(ADMIN, NOW - 1)])
def test_a_link_that_is_not_good_gives_none(client: FlaskClient, key: str) -> None:
    answer = client.get("/dashboard/enter", query_string={"key": key}, environ_overrides=ELSEWHERE)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers


# --- what is on them


def show(view: FakeView, *tasks, **more) -> None:
    view.show(a_sight(*tasks, agents=(an_agent(),), **more))


def test_the_first_page_answers_first(client: FlaskClient, view: FakeView) -> None:
    show(view, a_task("t-1"), a_task("t-2", State.WORKING), a_task("t-3", State.BLOCKED, question="Which port?"))
    text = client.get("/dashboard").get_data(as_text=True)
    order = [
        text.index(word)
        for word in ("All is well", "Being worked on", "Waiting, and why", "Finished lately", "Needs you")
    ]
    assert order == sorted(order)
    assert "Which port?" in text
    assert "agentcom task answer t-3 &#34;YOUR ANSWER&#34;" in text


def test_an_empty_hub_says_what_to_do_next(client: FlaskClient, view: FakeView) -> None:
    view.show(a_sight())
    assert "agentcom agent add NAME" in client.get("/dashboard").get_data(as_text=True)
    for address in ("/dashboard/tasks", "/dashboard/agents", "/dashboard/problems", "/dashboard/backlog"):
        assert client.get(address).status_code == 200
    assert "agentcom add" in client.get("/dashboard/tasks").get_data(as_text=True)


def test_a_task_that_waits_says_why_and_what_one_can_do(client: FlaskClient, view: FakeView) -> None:
    show(view, a_task("t-1"))
    text = client.get("/dashboard/task/t-1").get_data(as_text=True)
    assert "It waits: fitting agents are busy: loash." in text
    assert "agentcom task hold t-1" in text


def test_a_task_that_is_not_there_leads_on(client: FlaskClient) -> None:
    answer = client.get("/dashboard/task/t-none")
    assert answer.status_code == 404
    assert "agentcom task list --all" in answer.get_data(as_text=True)
    assert client.get("/dashboard/agent/nobody").status_code == 404


def test_the_backlog_has_each_items_state_beside_its_line(client: FlaskClient, view: FakeView) -> None:
    items = {3: Item("t-1", "ready"), 4: Item("t-9", "draft")}
    view.document = Document("BACKLOG.md", "a" * 40, "# Backlog\n\n- [ ] one\n- [ ] two\n", items)
    show(view, a_task("t-1", State.DONE))
    rows = re.findall(
        r'<tr id="line-(\d+)".*?</tr>', client.get("/dashboard/backlog").get_data(as_text=True), re.DOTALL
    )
    assert rows == ["1", "2", "3", "4"]
    text = client.get("/dashboard/backlog").get_data(as_text=True)
    assert re.search(r'line-3".*?/dashboard/task/t-1.*?done.*?- \[ \] one', text, re.DOTALL)
    assert re.search(r'line-4".*?draft.*?- \[ \] two', text, re.DOTALL)


def test_the_activity_is_filtered_by_its_address_and_goes_on_before_a_commit(
    client: FlaskClient, view: FakeView
) -> None:
    text = client.get("/dashboard/activity?agent=a-0&event=created&since=2026-11-25").get_data(as_text=True)
    asked = view.asked[-1]
    assert (asked.agent, asked.event, asked.since, asked.task) == ("a-0", "created", 1_795_564_800_000, None)
    assert text.count('<li class="dot-') == 50
    assert f"before={EVENTS[49].commit}" in text
    client.get("/dashboard/activity?since=yesterday&until=x")
    assert (view.asked[-1].since, view.asked[-1].until) == (None, None)


def test_a_day_as_the_end_of_the_activity_is_the_whole_of_that_day(client: FlaskClient, view: FakeView) -> None:
    client.get("/dashboard/activity?since=2026-11-25&until=2026-11-25")
    begin, end = view.asked[-1].since, view.asked[-1].until
    assert (begin, end) == (1_795_564_800_000, 1_795_564_800_000 + DAY_MS - 1)
    client.get("/dashboard/activity?since=0001-01-01T00:00%2B14:00&until=2026-11-25T18:00")
    assert (view.asked[-1].since, view.asked[-1].until) == (0, 1_795_564_800_000 + 18 * HOUR_MS)


def test_the_lines_of_the_backlog_are_those_that_its_reader_counts(client: FlaskClient, view: FakeView) -> None:
    text = "# Backlog\n\n## Ready\n\n- [ ] one \u2028 line \x0c still\n- [ ] another\r\n"
    view.document = Document("BACKLOG.md", "a" * 40, text, {6: Item("t-1", "ready")})
    show(view, a_task("t-1"))
    page = client.get("/dashboard/backlog").text
    row = page[page.index('id="line-6"') :]
    assert "another" in row
    assert "/dashboard/task/t-1" in row
    assert 'id="line-7"' not in page


def test_what_a_task_waits_for_is_a_task_and_who_it_waits_for_an_agent(client: FlaskClient, view: FakeView) -> None:
    whys = {"t-1": Why("dependency", "waits for gone", ("gone",)), "t-2": Why("agents_busy", "busy", ("t-800",))}
    show(view, a_task("t-1"), a_task("t-2"), whys=whys)
    assert 'href="/dashboard/task/gone"' in client.get("/dashboard/task/t-1").text
    assert 'href="/dashboard/agent/t-800"' in client.get("/dashboard/task/t-2").text


def test_a_filter_keeps_the_order_of_the_list(client: FlaskClient) -> None:
    page = client.get("/dashboard/tasks?view=all&sort=title&order=down").text
    assert '<input type="hidden" name="sort" value="title">' in page
    assert '<input type="hidden" name="order" value="down">' in page
    assert 'name="sort"' not in client.get("/dashboard/tasks").text


def test_a_page_is_made_once_while_nothing_changes_and_anew_when_it_does(client: FlaskClient, view: FakeView) -> None:
    show(view, a_task("t-1", title="before"))
    assert "before" in client.get("/dashboard/tasks").get_data(as_text=True)
    show(view, a_task("t-1", title="after"))
    assert "after" in client.get("/dashboard/tasks").get_data(as_text=True)
    assert "after" in client.get("/dashboard/tasks").get_data(as_text=True)


def test_what_is_deleted_is_hidden(client: FlaskClient, view: FakeView) -> None:
    task = a_task("t-1")
    show(view, replace(task, status=replace(task.status, deleted=True)))
    assert client.get("/dashboard/task/t-1").status_code == 404


# --- for programs


def test_the_state_for_programs_takes_a_bearer_also_on_this_machine(client: FlaskClient) -> None:
    assert client.get("/api/dashboard/state").status_code == 401
    answer = client.get("/api/dashboard/state", headers={"Authorization": "Bearer ac_reader"})
    assert answer.status_code == 200
    said = answer.get_json()
    assert {"uptime_ms", "timestamp", "health", "agents", "queue", "recent_completions", "throughput"} <= said.keys()


# --- what is not ours


@pytest.mark.parametrize("folder", ["dashboard/static/vendor", "tests/browser/vendor"])
def test_files_that_are_not_ours_are_those_that_their_sums_name(folder: str) -> None:
    place = Path(__file__).resolve().parents[2] / folder
    named = dict(re.findall(r"^\| (\S+\.js) \| ([0-9a-f]{64}) \|$", (place / "README.md").read_text(), re.MULTILINE))
    there = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in place.glob("*.js")}
    assert named == there
    assert list(place.glob("LICENSE-*"))
