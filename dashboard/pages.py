"""The pages as routes: who may look, which values a page is made of, and how its answer is dressed. Nothing changes.

Every route answers GET alone. To the application the pages are public: who may look at them is decided here, before
each of them, because a cookie or this machine is enough. Views run in worker threads and ask the view on its loop.
"""

import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, redirect, request
from flask.typing import ResponseReturnValue

from coordinator.core.agent import Role
from coordinator.core.machine import State
from coordinator.core.task import Priority, Task
from coordinator.web import present
from coordinator.web.access import public, requires
from coordinator.web.app import SCHEMA_VERSION, Bridge
from coordinator.web.described import described, for_people
from coordinator.wire import answers
from dashboard import listing, prose, remedies
from dashboard.door import COOKIE, DAYS, FORWARDED, PATH, Caller
from dashboard.guard import Guard
from dashboard.rendering import BY_NAME, render
from dashboard.snapshot import DAY_MS, Seen, Snapshot, row, state_json, take
from dashboard.view import EVENTS, Asked, Document, Edition, View

T = TypeVar("T")

#: What a page may load and do: its own files and its own stream; nothing inline, nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
#: How far a page may be behind what is known while the hub has much to do, in seconds; it says as of when it is.
BEHIND = 0.25
#: Pages that are kept as long as nothing changes: so many.
KEPT = 64
#: Lines of the backlog on one page.
LINES = 500
#: Rows on an agent's page.
OF_AGENT = 20

Answer = ResponseReturnValue


class _Kept:
    """The last pages, as long as what they were made of is the newest; for many threads."""

    def __init__(self) -> None:
        self._seen: Seen | None = None
        self._pages: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def get(self, address: str, seen: Seen) -> str | None:
        with self._lock:
            return self._pages.get(address) if self._seen is seen else None

    def put(self, address: str, seen: Seen, page: str) -> None:
        with self._lock:
            if self._seen is not seen:
                self._seen = seen
                self._pages.clear()
            self._pages[address] = page
            if len(self._pages) > KEPT:
                self._pages.popitem(last=False)


def blueprint(view: View, bridge: Bridge, guard: Guard) -> Blueprint:
    """Return the routes."""
    site = Blueprint("dashboard", __name__)
    kept = _Kept()

    def ask(make: Callable[[], Awaitable[T]]) -> T:
        return bridge.ask(make)

    def page(template: str, make: Callable[[Seen], dict[str, Any] | None], topic: str = "all") -> Answer:
        """Answer with a page made of what is seen now, which hears of a topic; None is a page that is not there."""
        seen = ask(lambda: view.seen(BEHIND))
        address = request.full_path if request.query_string else request.path
        text = kept.get(address, seen)
        if text is None:
            values = make(seen)
            if values is None:
                return missing()
            text = render(template, **shown(seen, address, topic), **values)
            kept.put(address, seen, text)
        return _html(text)

    def missing() -> Answer:
        seen = ask(lambda: view.seen(BEHIND))
        return _html(render("missing.html", **shown(seen, request.path), wanted=request.path), 404)

    def shown(seen: Seen, address: str, topic: str = "all") -> dict[str, Any]:
        return _common(take(seen), request.path, address, topic)

    @site.before_request
    def admit() -> Answer | None:
        if request.path.startswith("/api/"):
            return None
        if request.endpoint in ("dashboard.static", "dashboard.enter") or _is_admitted():
            return None
        return _html(render("closed.html"), 401)

    def _is_admitted() -> bool:
        forwarded = any(name in request.headers for name in FORWARDED)
        caller = Caller(request.remote_addr, request.headers.get("Host"), request.cookies.get(COOKIE), forwarded)
        if guard.knows(caller):
            return True
        header = request.headers.get("Authorization")
        if header is None:
            return False

        async def check() -> bool:
            return guard.bears(header)

        return ask(check)

    @site.after_request
    def dress(response: Response) -> Response:
        if not request.path.startswith("/api/"):
            response.headers["Content-Security-Policy"] = POLICY
        return response

    @site.get("/api/dashboard/state")
    @requires(Role.READER)
    @described("What the first page of the dashboard shows", {200: answers.DashboardState})
    def state() -> Answer:
        snapshot = take(ask(view.seen))
        agents = present.agents_json({agent.id: agent for agent in snapshot.seen.agents})
        return jsonify(schema_version=SCHEMA_VERSION, **state_json(snapshot, agents))

    @site.get(f"{PATH}/static/<name>")
    @public
    @for_people
    def static(name: str) -> Answer:
        asset = BY_NAME.get(name)
        if asset is None:
            return _html(render("closed.html", gone=True), 404)
        answer = Response(asset.data, content_type=asset.kind)
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer

    @site.get(f"{PATH}/enter")
    @public
    @for_people
    def enter() -> Answer:
        key = request.args.get("key", "")
        if not guard.opens(key):
            return _html(render("closed.html", refused=True), 401)
        answer = Response(render("enter.html"), content_type="text/html; charset=utf-8")
        answer.set_cookie(
            COOKIE,
            key,
            max_age=DAYS * DAY_MS // 1000,
            path=PATH,
            httponly=True,
            samesite="Strict",
            secure=request.is_secure,
        )
        return answer

    @site.get(f"{PATH}/")
    @public
    @for_people
    def slash() -> Answer:
        return redirect(PATH, 308)

    @site.get(PATH)
    @public
    @for_people
    def overview() -> Answer:
        return page("overview.html", lambda seen: {})

    @site.get(f"{PATH}/tasks")
    @public
    @for_people
    def tasks() -> Answer:
        return page("tasks.html", lambda seen: _tasks(seen, listing.wish(request.args)))

    @site.get(f"{PATH}/task/<task_id>")
    @public
    @for_people
    def task(task_id: str) -> Answer:
        def make(seen: Seen) -> dict[str, Any] | None:
            story = ask(lambda: view.story(task_id))
            if story is None or story.task.status.deleted:
                return None
            found = story.task
            agents = {agent.id: agent for agent in seen.agents}
            titles = _titles(seen)
            whys = {} if story.why is None else {found.id: story.why}
            return {
                "story": story,
                "row": row(_with_whys(seen, whys), found, agents),
                "edits": _edits(story.editions),
                "titles": titles,
                "waiting_for_it": [one for one in seen.tasks if found.id in one.spec.depends_on][:OF_AGENT],
                "troubles": [trouble for trouble in seen.troubles if trouble.task == found.id],
                "commands": remedies.of_task(found),
                "remedies": [] if story.why is None else remedies.against(story.why, found, titles, agents),
            }

        return page("task.html", make, f"task:{task_id}")

    @site.get(f"{PATH}/agents")
    @public
    @for_people
    def agents() -> Answer:
        return page("agents.html", lambda seen: {})

    @site.get(f"{PATH}/agent/<agent_id>")
    @public
    @for_people
    def agent(agent_id: str) -> Answer:
        def make(seen: Seen) -> dict[str, Any] | None:
            card = next((one for one in take(seen).cards if one.agent.id == agent_id), None)
            if card is None:
                return None
            mine = listing.tasks(seen.tasks, seen.whys, listing.Wish(view="all", agent=agent_id))
            known = {one.id: one for one in seen.agents}
            events = ask(lambda: view.events(Asked(agent=agent_id), OF_AGENT))
            rows = [row(seen, one, known) for one in mine.tasks[:OF_AGENT]]
            return {"card": card, "rows": rows, "count": mine.count, "events": events, "titles": _titles(seen)}

        return page("agent.html", make)

    @site.get(f"{PATH}/backlog")
    @public
    @for_people
    def backlog() -> Answer:
        def make(seen: Seen) -> dict[str, Any]:
            document = ask(view.backlog)
            found = _lines(document, seen)
            pages = max(1, -(-len(found) // LINES))
            number = min(listing.number(request.args.get("page", "")), pages)
            shown = found[(number - 1) * LINES : number * LINES]
            return {"document": document, "lines": shown, "number": number, "pages": pages}

        return page("backlog.html", make)

    @site.get(f"{PATH}/activity")
    @public
    @for_people
    def activity() -> Answer:
        args = request.args
        asked = Asked(
            args.get("task", "").strip() or None,
            args.get("agent", "").strip() or None,
            args.get("event", "").strip() or None,
            _instant(args.get("since", "")),
            _instant(args.get("until", ""), DAY_MS - 1),
            args.get("before") or None,
        )
        said = {key: args.get(key, "") for key in ("task", "agent", "event", "since", "until")}

        def make(seen: Seen) -> dict[str, Any]:
            found = ask(lambda: view.events(asked, EVENTS + 1))
            more = found[EVENTS - 1].commit if len(found) > EVENTS else None
            return {"events": found[:EVENTS], "asked": asked, "args": said, "more": more, "titles": _titles(seen)}

        return page("activity.html", make)

    @site.get(f"{PATH}/problems")
    @public
    @for_people
    def problems() -> Answer:
        return page("problems.html", lambda seen: {})

    @site.get(f"{PATH}/<path:rest>")
    @public
    @for_people
    def nothing(rest: str) -> Answer:
        return missing()

    return site


def fragment(snapshot: Snapshot) -> str:
    """Return what changes of the first page, the same for everybody who looks at it."""
    return render("_overview.html", **_common(snapshot, PATH, PATH, "all"))


def _common(snapshot: Snapshot, path: str, address: str, topic: str) -> dict[str, Any]:
    """Return what every page shows: how the whole stands, where one is, and where its news come from."""
    return {
        "snapshot": snapshot,
        "seen": snapshot.seen,
        "now": snapshot.now,
        "path": path,
        "address": address,
        "topic": topic,
    }


def _html(text: str, status: int = 200) -> Response:
    return Response(text, status, content_type="text/html; charset=utf-8")


def _titles(seen: Seen) -> dict[str, Task]:
    return {task.id: task for task in seen.tasks}


def _with_whys(seen: Seen, whys: dict[str, Any]) -> Seen:
    return replace(seen, whys=whys)


def _tasks(seen: Seen, wish: listing.Wish) -> dict[str, Any]:
    found = listing.tasks(seen.tasks, seen.whys, wish)
    agents = {agent.id: agent for agent in seen.agents}
    labels = sorted({label for task in seen.tasks if task.open for label in task.spec.labels})
    return {
        "wish": wish,
        "found": found,
        "rows": [row(seen, task, agents) for task in found.tasks],
        "states": [str(state) for state in State],
        "priorities": [priority.word for priority in Priority],
        "labels": labels[:100],
        "names": [agent.id for agent in seen.agents][:200],
    }


def _edits(editions: tuple[Edition, ...]) -> list[tuple[Edition, tuple[prose.Line, ...]]]:
    """Return each edition that differs from the one before it, newest first, with what changed."""
    found = []
    for before, after in itertools.pairwise(editions):
        lines = prose.diff(before.text, after.text)
        if lines:
            found.append((after, lines))
    return found[::-1]


def _lines(document: Document, seen: Seen) -> list[tuple[int, str, Any, Task | None]]:
    """Return the document line by line: number, text, the item that stands there, and its task."""
    known = {task.id: task for task in seen.tasks}
    lines = []
    for number, text in enumerate((document.text or "").removesuffix("\n").split("\n"), 1):
        item = document.items.get(number)
        lines.append((number, text.removesuffix("\r"), item, known.get(item.id) if item is not None else None))
    return lines


def _instant(text: str, of_day: int = 0) -> int | None:
    """Return an instant as people write it (date and time, UTC, or a date: then so many ms of that day), or None."""
    said = text.strip()
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        return None
    of_day = 0 if "T" in said or " " in said else of_day
    return max(0, int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000) + of_day)
