"""What waits for a person about one task: in a few words, with what to copy for each way to go on.

Pure. A task comes in as its state, its question and its result. What an agent wrote into a result is only shown as a
command when it has the one shape that a sidecar gives it: a person may well paste it into a shell.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: States in which nobody but a person can go on.
WAITING = ("blocked", "in_review")
_BRANCH = re.compile(r"(?![-/])(?!.*(?:\.\.|//))[A-Za-z0-9_.+/-]{1,250}\Z")
_PAGE = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+/[A-Za-z0-9._~!$()*+,;=:@%/?#-]*\Z")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a person is waited for with, and the ways to go on: what each means, and the command or page for it."""

    what: str
    ways: tuple[tuple[str, str], ...]


def turn(task_id: str, state: str, question: str | None, result: Mapping[str, Any] | None) -> Turn | None:
    """Return what a task waits for a person with, None when it does not."""
    if state == "blocked":
        asked = f"it asks: {question}" if question else "it asks, without a question"
        return Turn(asked, (("answer its question", f'agentcom task answer {task_id} "YOUR ANSWER"'),))
    if state != "in_review":
        return None
    back = ("send it back", f'agentcom task reject {task_id} --note "WHAT TO CHANGE"')
    return Turn("its result is to be judged", (*_taking(task_id, result or {}), back))


def turn_of(task: Mapping[str, Any]) -> Turn | None:
    """Return ``turn`` of a task as the API shows it."""
    return turn(task["id"], task["status"], task["question"], task["result"])


def waiting(tasks: Iterable[Mapping[str, Any]]) -> str:
    """Return how many of these tasks wait for a person, as in ``2 tasks wait for you``; empty for none.

    What a hub holds until a person has looked counts, what a person holds does not.
    """
    number = sum(1 for task in tasks if task["status"] in WAITING or (task["status"] == "queued" and task["held"]))
    return "" if number == 0 else "1 task waits for you" if number == 1 else f"{number} tasks wait for you"


def _taking(task_id: str, result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return how to look at a result and how to take it: the merge is the approval where there is work to merge."""
    page, merge = result.get("pr_url"), result.get("merge")
    if isinstance(page, str) and _PAGE.match(page):
        return (("look at it, and merge it", page),)
    if isinstance(merge, str) and (found := _merge(merge)) is not None:
        place, branch = found
        return (("look at it", f"git -C {shlex.quote(place)} diff HEAD...{branch}"), ("take the result", merge))
    return (("take the result", f"agentcom task approve {task_id}"),)


def _merge(line: str) -> tuple[str, str] | None:
    """Return repository and branch of a line that merges, None when it could do anything else besides."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    match words:
        case ["git", "-C", place, "merge", "--no-ff", branch] if _BRANCH.match(branch) and shlex.join(words) == line:
            return place, branch
        case _:
            return None
