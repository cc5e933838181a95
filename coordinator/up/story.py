"""What happens, told in lines: one for each change, and one at the end. Pure; commits and tasks come in as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coordinator.core.machine import State
from coordinator.yourturn import turn_of, waiting

#: What a person may want to read more about than the change itself.
_TELLING = frozenset({"in_review", "blocked", "done", "failed", "rejected"})
#: Events that are no news to a person.
_SILENT = frozenset({"claim", "observed", "accepted", "created"})
#: What a commit says of an agent that is given a token: `up` does that itself for each of its own.
_EQUIPPED = ": got a token ("
_LONGEST = 100
#: What people call a state where its own name is none of theirs.
_CALLED = {"queued": "waiting", "in_review": "in review", "blocked": "with a question"}


@dataclass
class Story:
    """Everything told so far; ``titles`` and ``ends`` by task: how it stands among those that moved meanwhile."""

    titles: dict[str, str] = field(default_factory=dict)
    ends: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def wants(self, record: Mapping[str, Any]) -> str | None:
        """Return the id of the task that should be asked for before this commit is told, None for none."""
        again = record["event"] == "failed" and _state(record) == "queued"
        return record["task"] if again or _state(record) in _TELLING else None

    def tell(self, record: Mapping[str, Any], task: Mapping[str, Any] | None = None) -> list[str]:
        """Return one commit of the trail as a line, none when it is no news; ``task`` as it stands now.

        Below a change that leaves the next step to a person stands a line for each way to go on.
        """
        subject, name = str(record["subject"]), record["task"]
        if name is None:
            return [] if record["event"] in _SILENT or _EQUIPPED in subject else [_short(subject)]
        if task is not None:
            self.titles[name] = str(task["title"])
            self.ends[name] = task
        if record["event"] == "created":
            title = subject.partition(": created")[2].partition(": ")[2]
            self.titles.setdefault(name, title)
            return [_short(f"{name} new: {title}")]
        if record["event"] in _SILENT:
            return []
        title = self.titles.get(name, "")
        line = _short(f"{subject}{f': {title}' if title else ''}")
        if task is None:
            return [line]
        if (turn := turn_of(task)) is None:
            more = _more(task)
            return [line + (f"; {_short(more)}" if more else "")]
        asks = f"; {_short(turn.what)}" if task["status"] == "blocked" else ""
        return [line + asks, *(f"-> {meaning}: {command}" for meaning, command in turn.ways)]

    def end(self, tasks: Iterable[Mapping[str, Any]] = ()) -> list[str]:
        """Return what came of it all, and what is left of all ``tasks``: for a person, and for the next start."""
        by: dict[str, list[Mapping[str, Any]]] = {}
        for task in self.ends.values():
            by.setdefault(str(task["status"]), []).append(task)
        tokens = sum(_tokens(task) for task in self.ends.values())
        failed = len(by.get("failed", [])) + len(by.get("rejected", []))
        ended = f"{len(by.get('done', []))} done, {failed} failed" + (
            f", {_thousands(tokens)} tokens" if tokens else ""
        )
        left = list(tasks)
        later = sum(1 for task in left if _goes_on(task))
        lines = [left_to_you(left), f"{_tasks(later)} on at the next start: agentcom up" if later else ""]
        return [ended, *(line for line in lines if line)]


def left_to_you(tasks: Iterable[Mapping[str, Any]]) -> str:
    """Return how many tasks wait for a person and what shows them, empty for none."""
    return f"{said}: agentcom status" if (said := waiting(tasks)) else ""


def standing(by_status: Mapping[str, int]) -> str:
    """Return how many tasks stand how, in one line, the open ones first; empty when there are none."""
    names = [str(state) for state in State if by_status.get(str(state))]
    return ", ".join(f"{by_status[name]} {_CALLED.get(name, name)}" for name in names)


def news(records: Iterable[Mapping[str, Any]], last: str | None) -> list[Mapping[str, Any]]:
    """Return the commits after ``last``, oldest first; ``records`` are newest first."""
    found: list[Mapping[str, Any]] = []
    for record in records:
        if record["commit"] == last:
            break
        found.append(record)
    return found[::-1]


def _state(record: Mapping[str, Any]) -> str | None:
    """Return the state into which a commit brought its task, None when it left it where it was."""
    _, arrow, rest = str(record["subject"]).partition(" -> ")
    return rest.split(" ", 1)[0] if arrow else None


def _more(task: Mapping[str, Any]) -> str:
    match task["status"]:
        case "queued":
            why = task.get("why") or {}
            return str(why["text"]) if why.get("code") == "backoff" else ""
        case "failed" | "rejected":
            return str(task["reason"] or "")
        case "done":
            url = (task["result"] or {}).get("pr_url")
            return url if isinstance(url, str) else ""
        case _:
            return ""


def _goes_on(task: Mapping[str, Any]) -> bool:
    """Tell whether a hub and its agents go on with a task by themselves."""
    if task["status"] == "queued":
        return task["lane"] == "ready" and not task["hold"] and not task["held"]
    return task["status"] in ("assigned", "working")


def _tasks(number: int) -> str:
    return "1 task goes" if number == 1 else f"{number} tasks go"


def _tokens(task: Mapping[str, Any]) -> int:
    tokens = (task["result"] or {}).get("tokens_used")
    return tokens if isinstance(tokens, int) else 0


def _thousands(number: int) -> str:
    if number < 1_000:
        return str(number)
    return f"{number / 1_000:.3g}k" if number < 1_000_000 else f"{number / 1_000_000:.3g}M"


def _short(text: str) -> str:
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 3]}..."
