"""A task, read from the JSON that a hub sent or the files that stand on the state branch.

Pure: texts in, a ``Task`` out. What has the wrong type is left out rather than believed; only the id must be right.
"""

import json
from collections.abc import Mapping
from typing import Any

from sidecar.gitflow.values import ID, Misused, Report, Task

#: The folders of the state branch that may hold the specification of a task, the one in force first.
SPEC_FOLDERS = ("tasks", "tasks/api", "tasks/backlog")
#: The largest file that is read, in bytes.
MOST_BYTES = 4 * 1024 * 1024


def from_json(text: str | bytes, where: str) -> Task:
    """Read a task as the hub assigns it, or as the API shows it. Raises Misused naming ``where``."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misused(
            f"{where}: not JSON ({error}); give the task.json that the sidecar wrote, or one like it"
        ) from None
    if not isinstance(raw, dict):
        raise Misused(f'{where}: not a JSON object; it needs at least {{"task_id": ..., "title": ...}}')
    task_id = _text(raw, "task_id") or _text(raw, "id")
    if not ID.fullmatch(task_id):
        raise Misused(f"{where}: task_id: {task_id!r} is no id of a task (a-z, 0-9 and -, at most 64 characters)")
    context = raw.get("context")
    context = context if isinstance(context, dict) else {}
    return Task(
        id=task_id,
        title=_text(raw, "title"),
        description=_text(raw, "description"),
        priority=_text(raw, "priority") or "normal",
        acceptance=_texts(context.get("acceptance") or raw.get("acceptance")),
        attempt=_number(raw.get("generation")),
        base=_text(raw, "base"),
        branch=_text(context, "branch") or _text(raw, "branch"),
    )


def from_state(task_id: str, spec: bytes, status: bytes | None, where: str) -> Task:
    """Read a task from its specification and status file. Raises Misused naming ``where``."""
    wanted = _mapping(spec, where)
    done = {} if status is None else _mapping(status, where)
    attempt = done.get("generation", "")
    return Task(
        id=task_id,
        title=_text(wanted, "title"),
        description=_text(wanted, "description"),
        priority=_text(wanted, "priority") or "normal",
        acceptance=_texts(wanted.get("acceptance")),
        attempt=int(attempt) if isinstance(attempt, str) and attempt.isdecimal() else 0,
        base=_text(wanted, "base"),
    )


def report(raw: object) -> Report:
    """Read what an agent's result says of its work."""
    if not isinstance(raw, dict):
        return Report()
    tokens = raw.get("tokens_used")
    known = isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0
    return Report(_text(raw, "summary"), _text(raw, "verification_report"), tokens if known else None)


def _mapping(data: bytes, where: str) -> Mapping[str, Any]:
    import yaml

    try:
        raw = yaml.load(data, yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and mappings only
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Misused(f"{where}: cannot be read as YAML; give the task itself: --task FILE") from None
    return raw if isinstance(raw, dict) else {}


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str) and one.strip()) if isinstance(value, list) else ()


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
