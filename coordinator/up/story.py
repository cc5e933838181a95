"""What happens, told in lines: one for each change, and one at the end. Pure; commits and tasks come in as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What a person may want to read more about than the change itself.
_TELLING = frozenset({"in_review", "blocked", "done", "failed", "rejected", "queued"})
#: Events that are no news to a person.
_SILENT = frozenset({"claim", "observed", "accepted", "created"})
_LONGEST = 100


@dataclass
class Story:
    """Everything told so far; ``titles`` and ``ends`` by task: how it stands among those that moved meanwhile."""

    titles: dict[str, str] = field(default_factory=dict)
    ends: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def wants(self, record: Mapping[str, Any]) -> str | None:
        """Return the id of the task that should be asked for before this commit is told, None for none."""
        return record["task"] if _state(record) in _TELLING else None

    def tell(self, record: Mapping[str, Any], task: Mapping[str, Any] | None = None) -> str | None:
        """Return one commit of the trail as a line, None when it is no news; ``task`` as it stands now."""
        subject, name = str(record["subject"]), record["task"]
        if name is None:
            return None if record["event"] in _SILENT else _short(subject)
        if task is not None:
            self.titles[name] = str(task["title"])
            self.ends[name] = task
        if record["event"] == "created":
            title = subject.partition(": created")[2].partition(": ")[2]
            self.titles.setdefault(name, title)
            return _short(f"{name} new: {title}")
        if record["event"] in _SILENT:
            return None
        title = self.titles.get(name, "")
        more = "" if task is None else _more(task)
        return _short(f"{subject}{f': {title}' if title else ''}") + (f"; {more}" if more else "")

    def end(self) -> str:
        """Return what came of it all in one line."""
        by: dict[str, list[Mapping[str, Any]]] = {}
        for task in self.ends.values():
            by.setdefault(str(task["status"]), []).append(task)
        parts = [f"{len(by.get('done', []))} done"]
        if reviews := by.get("in_review", []):
            where = ", ".join(dict.fromkeys(_where(task) for task in reviews if _where(task)))
            parts.append(f"{len(reviews)} in review" + (f": {where}" if where else ""))
        if asks := by.get("blocked", []):
            parts.append(f"{len(asks)} with a question")
        parts.append(f"{len(by.get('failed', [])) + len(by.get('rejected', []))} failed")
        tokens = sum(_tokens(task) for task in self.ends.values())
        return ", ".join(parts) + (f", {_thousands(tokens)} tokens" if tokens else "")


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
        case "blocked":
            return f'asks: {_short(str(task["question"] or ""))}; agentcom task answer {task["id"]} "..."'
        case "queued":
            why = task.get("why") or {}
            return _short(str(why["text"])) if why.get("code") == "backoff" else ""
        case "failed" | "rejected":
            return _short(str(task["reason"] or ""))
        case "in_review":
            return (
                _where(task) or f"agentcom task approve {task['id']}, or: agentcom task reject {task['id']} --note WHY"
            )
        case "done":
            url = (task["result"] or {}).get("pr_url")
            return url if isinstance(url, str) else ""
        case _:
            return ""


def _where(task: Mapping[str, Any]) -> str:
    """Return where the work of a task is: its pull request, else the line that takes it, else its branch."""
    result = task["result"] or {}
    found = (result.get(name) for name in ("pr_url", "merge", "branch"))
    return next((one for one in found if isinstance(one, str) and one), "")


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
