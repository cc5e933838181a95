"""A hub of version 1 as far as others ask it: agents, tasks and health over real HTTP, and a wrong token is refused."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

ADMIN = "old-admin-token-0123456789abcdef"


@dataclass
class OldHub:
    """``tasks`` and ``agents`` are what it answers; ``asked`` are the paths so far. It hears GET only."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    agents: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, path: str) -> dict[str, Any] | None:
        match path:
            case "/health":
                return {"status": "ok", "service": "agent_com", "agents_connected": len(self.agents)}
            case "/api/tasks":
                return {"tasks": self.tasks, "count": len(self.tasks)}
            case "/api/agents":
                return {"agents": self.agents}
        return None

    def __enter__(self) -> "OldHub":
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                hub.asked.append(self.path)
                found = hub._answer(path)
                if path != "/health" and self.headers.get("Authorization") != f"Bearer {ADMIN}":
                    self._say(401, {"error": "unauthorized"})
                elif found is None:
                    self._say(404, {"error": "not_found"})
                else:
                    self._say(200, found)

            def _say(self, code: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def old_task(number: int, **more: Any) -> dict[str, Any]:
    """Return a task as version 1 shows it."""
    return {
        "id": f"task-{number:08x}",
        "description": f"Write the number {number}\n\nand nothing else",
        "status": "queued",
        "priority": 2,
        "assigned_to": None,
        "generation": 0,
        "retry_count": 0,
        "max_retries": 3,
        "needed_capabilities": [],
        "metadata": {},
        "created_at": 1_700_000_000_000,
        "complete_by": None,
        **more,
    }
