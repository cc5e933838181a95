"""A forge on loopback: the part of GitHub's REST interface that AgentCom uses, over a bare repository of this machine.

What it answers follows GitHub's public documentation of pull requests, labels, reviews, comments and check runs. People
act on it through methods, programs over HTTP; whoever asks must bring the right token.
"""

import hashlib
import json
import re
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from coordinator.listening import Tls
from support.repo import Clone, git_env

TOKEN = "not-a-real-token"
Json = Any


@dataclass
class Question:
    """One request as it came in."""

    method: str
    path: str
    token: str
    etag: str
    body: Json
    status: int = 0


@dataclass
class FakeForge:
    """One project over one bare repository. ``fails`` answers instead of the forge while it returns something."""

    origin: Path
    project: str = "ada/app"
    token: str = TOKEN
    url: str = ""
    host: str = "github.com"
    pulls: dict[int, dict[str, Json]] = field(default_factory=dict)
    labels: dict[int, list[str]] = field(default_factory=dict)
    asked: dict[int, list[str]] = field(default_factory=dict)
    reviews: dict[int, list[Json]] = field(default_factory=dict)
    comments: dict[int, list[Json]] = field(default_factory=dict)
    said: dict[int, list[Json]] = field(default_factory=dict)
    runs: list[Json] = field(default_factory=list)
    statuses: list[Json] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    fails: Callable[[Question], tuple[int, Json, dict[str, str]] | None] = lambda _question: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    # --- what people do -----------------------------------------------------------------------------------------------

    def opened(self, branch: str, base: str = "main") -> int:
        status, body = self._open({"title": branch, "body": "", "head": branch, "base": base})
        assert status == 201, body
        return int(body["number"])

    def merge(self, number: int, commit: str, by: str = "grace") -> None:
        """Mark as merged by ``commit``, which somebody pushed."""
        now = _now()
        self._end(number, merged_at=now, closed_at=now, merged_by=_user(by), merge_commit_sha=commit, merged=True)

    def close(self, number: int, by: str = "grace") -> None:
        self._end(number, closed_at=_now(), closed_by=_user(by))

    def review(self, number: int, state: str, body: str = "", by: str = "grace", member: str = "MEMBER") -> int:
        known = len(self.reviews.get(number, [])) + 1
        made = {
            "id": known,
            "user": _user(by),
            "state": state,
            "body": body,
            "html_url": f"{self.pulls[number]['html_url']}#pullrequestreview-{known}",
            "submitted_at": _now(),
            "author_association": member,
            "commit_id": self._shown(number)["head"]["sha"],
        }
        self.reviews.setdefault(number, []).append(made)
        return known

    def remark(self, number: int, review: int, path: str, line: int, body: str, by: str = "grace") -> None:
        """Add a comment on a line to a review."""
        made = {"pull_request_review_id": review, "user": _user(by), "path": path, "line": line, "body": body}
        self.comments.setdefault(number, []).append(made)

    def say(self, number: int, body: str, by: str = "grace", member: str = "MEMBER") -> None:
        """Comment in the conversation of a pull request."""
        made = {"user": _user(by), "body": body, "created_at": _now(), "author_association": member}
        self.said.setdefault(number, []).append(made)

    # --- what programs ask --------------------------------------------------------------------------------------------

    def answer(self, question: Question) -> tuple[int, Json, dict[str, str]]:
        with self.lock:
            self.questions.append(question)
            instead = self.fails(question)
            if instead is not None:
                return instead
            if question.token != self.token:
                return 401, {"message": "Bad credentials"}, {}
            parts = urlsplit(question.path)
            prefix = f"/repos/{self.project}"
            if not parts.path.startswith(prefix + "/"):
                return 404, {"message": "Not Found"}, {}
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, body = self._route(question.method, parts.path.removeprefix(prefix), query, question.body)
            return status, body, {}

    def _route(self, method: str, path: str, query: dict[str, str], body: Json) -> tuple[int, Json]:
        if path == "/pulls" and method == "GET":
            return 200, [shown for shown in map(self._shown, self.pulls) if _fits(shown, query)]
        if path == "/pulls" and method == "POST":
            return self._open(body)
        if re.fullmatch(r"/commits/[0-9a-f]+/check-runs", path):
            return 200, {"total_count": len(self.runs), "check_runs": self.runs}
        if re.fullmatch(r"/commits/[0-9a-f]+/status", path):
            return 200, {"state": "pending", "total_count": len(self.statuses), "statuses": self.statuses}
        match = re.fullmatch(r"/(pulls|issues)/(\d+)(?:/(\w+))?(?:/([^/]+))?", path)
        if match is None or int(match[2]) not in self.pulls:
            return 404, {"message": "Not Found"}
        number = int(match[2])
        if (method, match[1], match[3]) == ("DELETE", "issues", "labels"):
            name = unquote(match[4] or "")
            if name not in self.labels.get(number, []):
                return 404, {"message": "Label does not exist"}
            self.labels[number].remove(name)
            return 200, [{"name": label} for label in self.labels[number]]
        match method, match[1], match[3]:
            case "GET", _, None:
                return 200, self._shown(number)
            case "PATCH", "pulls", None:
                self.pulls[number].update({key: body[key] for key in ("title", "body", "state") if key in body})
                return 200, self._shown(number)
            case "GET", "pulls", "reviews":
                return 200, self.reviews.get(number, [])
            case "GET", "pulls", "comments":
                return 200, self.comments.get(number, [])
            case "GET", "pulls", "commits":
                pull = self._shown(number)
                log = self._git("rev-list", "--reverse", pull["head"]["sha"], f"^{pull['base']['sha']}")
                return 200, [{"sha": commit} for commit in log.split()]
            case "GET", "issues", "comments":
                return 200, self.said.get(number, [])
            case "POST", "issues", "labels":
                there = self.labels.setdefault(number, [])
                there += [label for label in body["labels"] if label not in there]
                return 200, [{"name": label} for label in there]
            case "POST", "pulls", "requested_reviewers":
                if "nobody" in body["reviewers"]:
                    return 422, {"message": "Reviews may only be requested from collaborators."}
                self.asked.setdefault(number, []).extend([*body["reviewers"], *body.get("team_reviewers", ())])
                return 201, self._shown(number)
        return 404, {"message": "Not Found"}

    def _open(self, body: Json) -> tuple[int, Json]:
        head, base = (self._tip(body[name]) for name in ("head", "base"))
        there = [one for one in map(self._shown, self.pulls) if one["head"]["ref"] == body["head"]]
        if not head or not base or head == base:
            return 422, {"message": "Validation Failed", "errors": [{"message": "No commits between them"}]}
        if any(one["state"] == "open" for one in there):
            text = f"A pull request already exists for {self._owner}:{body['head']}."
            return 422, {"message": "Validation Failed", "errors": [{"message": text}]}
        number = len(self.pulls) + 1
        repo = {"full_name": self.project, "default_branch": "main"}
        self.pulls[number] = {
            "number": number,
            "html_url": f"https://{self.host}/{self.project}/pull/{number}",
            "state": "open",
            "title": body["title"],
            "body": body.get("body"),
            "draft": bool(body.get("draft")),
            "merged_at": None,
            "closed_at": None,
            "merge_commit_sha": None,
            "head": {
                "ref": body["head"],
                "label": f"{self._owner}:{body['head']}",
                "repo": {"full_name": self.project},
            },
            "base": {"ref": body["base"], "sha": base, "repo": repo},
        }
        return 201, self._shown(number)

    def _shown(self, number: int) -> dict[str, Json]:
        pull = self.pulls[number]
        head = {"sha": self._tip(pull["head"]["ref"]), **pull["head"]}
        return {**pull, "head": head, "labels": [{"name": label} for label in self.labels.get(number, [])]}

    def _end(self, number: int, **more: Json) -> None:
        pull = self.pulls[number]
        pull["head"] = self._shown(number)["head"]
        pull.update(state="closed", **more)

    @property
    def _owner(self) -> str:
        return self.project.partition("/")[0]

    def _tip(self, branch: str) -> str:
        return self._git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")

    def _git(self, *argv: str) -> str:
        return Clone(self.origin).git(*argv)


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[Any, tuple[str, int]]:
        connection, _ = super().get_request()
        return connection, ("unix", 0)


@contextmanager
def forge_over(
    origin: Path, project: str = "ada/app", *, socket: Path | None = None, tls: Tls | None = None
) -> Iterator[FakeForge]:
    """A forge that listens while the context is open, on a port, with or without TLS, or on a Unix socket.

    The repository itself is served under ``fake.url/OWNER/NAME.git``.
    """
    fake = FakeForge(origin, project)

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            data = self._body()
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").removeprefix("token ")
            etag = self.headers.get("If-None-Match") or ""
            question = Question(self.command, self.path, token, etag, json.loads(data) if data else None)
            question.status, body, headers = fake.answer(question)
            content = json.dumps(body).encode()
            mark = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            if question.status == 200 and mark == etag:
                question.status, content = 304, b""
            self.send_response(question.status)
            for name, value in {"Content-Type": "application/json", "ETag": mark, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _git(self) -> None:
            """Serve the repository over git's smart HTTP, by git's own CGI program."""
            parts = urlsplit(self.path)
            environment = {
                **git_env(),
                "GIT_PROJECT_ROOT": str(fake.origin),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": parts.path.removeprefix(f"/{project}.git"),
                "QUERY_STRING": parts.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                "REMOTE_USER": "somebody",
                "REMOTE_ADDR": "127.0.0.1",
            }
            done = subprocess.run(
                ["git", "http-backend"], input=self._body(), capture_output=True, env=environment, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _either(self) -> None:
            if self.path.startswith(f"/{project}.git/"):
                self._git()
            else:
                self._any()

        do_GET = do_POST = do_PATCH = do_DELETE = _either  # noqa: N815 - the names that the server calls

        def address_string(self) -> str:
            return "here"

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler) if socket is None else _UnixServer(str(socket), Handler)
    fake.url = "" if socket else f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.cert, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fake_gh(folder: Path, fake: FakeForge, *, logged_in: bool = True, host: str = "github.com") -> Path:
    """Put a ``gh`` into ``folder`` that asks the fake forge with a token of its own; return the folder."""
    folder.mkdir(exist_ok=True)
    program = folder / "gh"
    program.write_text(
        _GH.format(python=sys.executable, url=fake.url, token=fake.token, logged_in=logged_in, host=host)
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


_GH = """#!{python}
import sys, urllib.error, urllib.request
argv = sys.argv[1:]
if argv[:1] == ["auth"]:
    if argv[1] not in ("status", "token") or not {logged_in}:
        sys.exit("You are not logged into any GitHub hosts. To log in, run: gh auth login")
    sys.exit(0)
assert argv[0] == "api" and argv[argv.index("--hostname") + 1] == {host!r}, argv
method, path = argv[argv.index("--method") + 1], argv[argv.index("--method") + 2]
data = sys.stdin.buffer.read() if "--input" in argv else None
request = urllib.request.Request("{url}" + path, method=method, data=data)
request.add_header("Authorization", "Bearer {token}")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
try:
    answer = opener.open(request)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    sys.exit(f"error connecting to api.github.com: {{error}}")
print(f"HTTP/2.0 {{answer.status}} {{answer.reason}}\\r\\nContent-Type: application/json\\r\\n\\r", flush=True)
sys.stdout.buffer.write(answer.read())
sys.exit(answer.status >= 400)
"""


def _fits(pull: Json, query: dict[str, str]) -> bool:
    state = query.get("state", "open")
    return state in ("all", pull["state"]) and query.get("head") in (None, pull["head"]["label"])


def _user(login: str) -> Json:
    return {"login": login, "id": 7}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
