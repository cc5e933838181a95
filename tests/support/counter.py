"""The HTTP API over a real hub and a real repository, in this process: Flask's test client, no sockets."""

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from flask.testing import FlaskClient

from coordinator.core.agent import Session
from coordinator.core.events import Connected, Said, Word
from coordinator.core.task import Task
from coordinator.ground import survey
from coordinator.hub import Hub
from coordinator.registry import Registry
from coordinator.saved import Lookout, SavedWork
from coordinator.service import HubView
from coordinator.tasking import Tasking
from coordinator.web import api_agents, api_hub, api_task_words, api_tasks
from coordinator.web.app import Bridge, make_app
from coordinator.web.auth import Doorkeeper, digest
from support.hubs import SOON, running
from support.repo import Clone

#: id -> role; the token of each is ``ac_ID``, that of the machine's admin ``ac_admin``.
ROLES = {"ada": "agent", "gcu": "agent", "eye": "reader", "bob": "coordinator"}


def agent_files() -> dict[str, str]:
    """Return a file for everybody in ``ROLES``."""
    return {
        f"agents/{name}.yaml": f"role: {role}\ntokens: [{{sha256: {digest(f'ac_{name}')}}}]\n"
        for name, role in ROLES.items()
    }


class Counter:
    """A hub with its loop in a thread; ``start`` and ``stop`` may be called again, as a restart."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.hub: Hub
        self._client: FlaskClient
        self._sessions: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self.hub = self.run(self._stack.enter_async_context(running(self.clone)))
        ground, keeping = survey(self.clone.path), SimpleNamespace(troubles=())
        lookout = Lookout(SavedWork(ground).uncommitted)
        view = HubView(self.hub, ground, 0, lookout, keeping)  # type: ignore[arg-type]
        bridge, tasking = Bridge(self.loop), Tasking(self.hub)
        routes = (
            api_hub.blueprint(view, bridge),
            api_tasks.blueprint(view, bridge),
            api_task_words.blueprint(tasking, bridge),
            api_agents.blueprint(view, Registry(self.hub, ground.branch), self.hub.core.memory.agents, bridge),
        )
        memory = self.hub.core.memory
        door = Doorkeeper(memory.agents, "ac_admin", lambda: memory.token_changes)
        self._client = make_app(door, self.hub.now, bridge, routes).test_client()

    def stop(self) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def run(self, doing: Any) -> Any:
        waiting: Future[Any] = asyncio.run_coroutine_threadsafe(doing, self.loop)
        return waiting.result(SOON)

    # --- asking

    def ask(self, who: str, method: str, path: str, said: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Authorization": f"Bearer ac_{who}", **named}
        answer = self._client.open(path, method=method, json=said, headers=headers)
        self.headers = answer.headers
        return answer.status_code, answer.get_json()

    def done(self, who: str, method: str, path: str, said: Any = None, **headers: str) -> dict[str, Any]:
        code, answer = self.ask(who, method, path, said, **headers)
        assert code in (200, 201), (code, answer)
        return answer

    def refused(self, code: int, who: str, method: str, path: str, said: Any = None, **headers: str) -> dict[str, Any]:
        got, answer = self.ask(who, method, path, said, **headers)
        assert got == code, (got, answer)
        return answer

    def make(self, who: str = "bob", **said: Any) -> str:
        """Make a task; return its id."""
        return str(self.done(who, "POST", "/api/tasks", {"title": "Write it", **said})["id"])

    def task(self, task_id: str) -> dict[str, Any]:
        return self.done("eye", "GET", f"/api/tasks/{task_id}")

    # --- agents and people

    def connect(self, agent: str) -> None:
        """Let an agent come, with nothing in hand."""
        session = Session(f"s-{agent}", (), frozenset({"updates", "release"}), frozenset())
        self.run(self.hub.settle(Connected(agent, session)))

    def say(self, agent: str, word: Word) -> None:
        self.run(self.hub.settle(Said(agent, f"s-{agent}", word)))

    def commit(self, files: dict[str, str | None], message: str = "edit") -> None:
        """Commit files as a person, and let the hub see it."""
        self.clone.commit(files, message)
        self.run(self.hub.reconcile())

    def mind(self, task_id: str) -> Task:
        return self.hub.core.memory.tasks[task_id]

    def trail(self, *options: str) -> str:
        return self.clone.git("log", "--first-parent", *options, "agentcom/state")
