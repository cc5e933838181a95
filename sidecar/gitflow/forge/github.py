"""GitHub by its REST interface, whoever carries the question: HTTP with a token, or ``gh``."""

import json
import re
import subprocess
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.git import forge
from coordinator.git.forge import Answer
from sidecar.gitflow.values import FlowError, Misconfigured, NotAllowed, PullRequest, Unreachable, Wanted

#: How long one question may take, in seconds.
ANSWER_S = 30.0
#: How a check run or a commit status ends that stands in the way of a merge.
_BAD = {"failure", "error", "timed_out", "cancelled", "action_required", "startup_failure"}
_STATUS = re.compile(rb"HTTP/[\d.]+ (\d{3})")


#: method, path with query, body -> answer. Raises Unreachable.
Ask = Callable[[str, str, Any], Answer]


class GitHub:
    """One repository, ``project`` is OWNER/NAME; keeps the promises of ``Forge``."""

    def __init__(self, project: str, ask: Ask) -> None:
        self._project = project
        self._path = f"/repos/{urllib.parse.quote(project)}"
        self._ask = ask

    def find(self, branch: str, commit: str) -> PullRequest | None:
        owner = self._project.partition("/")[0]
        query = urllib.parse.urlencode({"head": f"{owner}:{branch}", "state": "all", "per_page": 30})
        found = [_pull(raw) for raw in self._list(self._good("GET", f"/pulls?{query}"))]
        there = [pull for pull in found if pull.state == "open"]
        there += [pull for pull in found if pull.state == "merged" and pull.commit == commit]
        return next(iter(there), None)

    def open(self, wanted: Wanted) -> PullRequest:
        body: dict[str, Any] = {"title": wanted.title, "body": wanted.body, "head": wanted.branch, "base": wanted.base}
        answer = self._ask("POST", f"{self._path}/pulls", {**body, "draft": wanted.draft})
        if answer.status == 422 and wanted.draft and "draft" in answer.said.lower():
            answer = self._ask("POST", f"{self._path}/pulls", body)  # this repository's plan knows no drafts
        if answer.status == 422 and "already exists" in answer.said:
            there = self.find(wanted.branch, "")
            if there is not None:
                return there
        return _pull(self._check(answer))

    def update(self, found: PullRequest, wanted: Wanted) -> PullRequest:
        body = {"title": wanted.title, "body": wanted.body, "base": wanted.base}
        return _pull(self._good("PATCH", f"/pulls/{found.number}", body))

    def mark(self, found: PullRequest, wanted: Wanted) -> tuple[str, ...]:
        labels = f"/issues/{found.number}/labels"
        asked: list[tuple[str, str, str, Any]] = [("labels", "POST", labels, {"labels": list(wanted.labels)})]
        asked += [
            ("labels", "DELETE", f"{labels}/{urllib.parse.quote(name, safe='')}", None)
            for name in found.labels
            if name in wanted.outdated
        ]
        people = [name for name in wanted.reviewers if "/" not in name]
        teams = [name.rpartition("/")[2] for name in wanted.reviewers if "/" in name]
        if people or teams:
            body = {"reviewers": people, "team_reviewers": teams}
            asked.append(("reviewers", "POST", f"/pulls/{found.number}/requested_reviewers", body))
        remarks = []
        for what, method, path, body in asked:
            answer = self._ask(method, self._path + path, body)
            if answer.status >= 300 and (method, answer.status) != ("DELETE", 404):
                remarks.append(f"the {what} were not set: {answer.said}")
        return tuple(dict.fromkeys(remarks))

    def checks(self, commit: str) -> str:
        """Judge by check runs and by commit statuses, the older way that some services still speak."""
        runs = self._objects(f"/commits/{commit}/check-runs", "check_runs")
        statuses = self._objects(f"/commits/{commit}/status", "statuses")
        states = {str(run.get("conclusion") or "pending") for run in runs}
        states |= {str(status.get("state") or "pending") for status in statuses}
        if states & _BAD:
            return "failure"
        return "pending" if "pending" in states else "success" if states else ""

    def _objects(self, path: str, name: str) -> list[dict[str, Any]]:
        raw = self._good("GET", f"{path}?per_page=100")
        return self._list(raw.get(name) if isinstance(raw, dict) else None)

    def _good(self, method: str, path: str, body: Any = None) -> Any:
        return self._check(self._ask(method, self._path + path, body))

    def _check(self, answer: Answer) -> Any:
        said = answer.said
        if answer.limited or answer.status >= 500:
            raise Unreachable(f"the forge cannot answer now ({answer.status}): {said}; try again later")
        if answer.status in (401, 403):
            raise NotAllowed(f"the forge refuses: {said}; check the token and its rights on {self._project}")
        if answer.status == 404:
            raise NotAllowed(
                f"the forge shows no {self._project} to this token; check the token, or the project's name"
            )
        if answer.status in (301, 302, 307, 308):
            raise Misconfigured(f"{self._project} has moved: `git remote set-url` with its new address")
        if answer.status >= 300:
            raise FlowError(f"the forge refuses ({answer.status}): {said}")
        return answer.body

    def _list(self, raw: Any) -> list[Any]:
        return [one for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []


def by_http(api: str, token: str) -> Ask:
    """Return what asks over HTTP, with a token that goes to ``api`` alone."""

    def ask(method: str, path: str, body: Any) -> Answer:
        try:
            return forge.ask(api, token, method, path, body, agent="agentcom-git", timeout=ANSWER_S)
        except forge.NoAnswer as error:
            raise Unreachable(f"{error}; try again later") from None

    return ask


def by_gh(host: str, environment: Mapping[str, str]) -> Ask:
    """Return what asks through ``gh``, which keeps its own token."""

    def ask(method: str, path: str, body: Any) -> Answer:
        argv = ["gh", "api", "--hostname", host, "--include", "--method", method, path]
        argv += [] if body is None else ["--input", "-"]
        data = None if body is None else json.dumps(body).encode()
        try:
            done = subprocess.run(argv, input=data, capture_output=True, timeout=ANSWER_S, env=environment, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"gh does not answer: {error}; try again later") from None
        status = _STATUS.match(done.stdout)
        if status is None:
            said = done.stderr.decode("utf-8", "replace").strip() or "nothing"
            raise Unreachable(f"gh says: {said}; try again later")
        _, _, text = done.stdout.replace(b"\r\n", b"\n").partition(b"\n\n")
        return Answer(int(status[1]), forge.read_json(text))

    return ask


def _pull(raw: Any) -> PullRequest:
    try:
        return PullRequest(
            number=int(raw["number"]),
            url=str(raw["html_url"]),
            state="merged" if raw.get("merged_at") else str(raw["state"]),
            title=str(raw.get("title") or ""),
            body=str(raw.get("body") or ""),
            draft=bool(raw.get("draft")),
            commit=str((raw.get("head") or {}).get("sha") or ""),
            labels=tuple(str(label["name"]) for label in raw.get("labels") or ()),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FlowError("the forge's answer is no pull request: is the address of its API right?") from None
