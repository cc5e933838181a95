"""Where a page of a list of tasks ends: a place in the order of the list, not a number, so that inserts move nothing.

A cursor is opaque to clients. Whole numbers, which an earlier version gave, are still taken: so many are skipped.
"""

import base64
import json
from collections.abc import Sequence

from coordinator.core.task import Task
from coordinator.web.asked import LARGEST, Wrong
from coordinator.web.present import Place, place_of

_HINT = "send the cursor of the page before as it was given"


def page(found: Sequence[Task], cursor: str, limit: int) -> tuple[Sequence[Task], str | None]:
    """Return the tasks that follow ``cursor`` (empty: the first ones) and the next cursor, None at the end.

    ``found`` is in order. Raises Wrong for a cursor that was never given.
    """
    if cursor.isascii() and cursor.isdigit():
        rest = found[min(int(cursor[:20]), LARGEST) :]
    elif cursor:
        after = _read(cursor)
        rest = [task for task in found if place_of(task) > after]
    else:
        rest = found
    shown = rest[:limit]
    return shown, _spell(place_of(shown[-1])) if len(rest) > len(shown) else None


def _spell(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def _read(cursor: str) -> Place:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        finished, priority, created, position, name = json.loads(base64.b64decode(padded, b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise Wrong(400, {"error": "malformed", "hint": _HINT}) from None
    numbers = (finished, priority, created, position)
    if not all(isinstance(number, int) for number in numbers) or not isinstance(name, str):
        raise Wrong(400, {"error": "malformed", "hint": _HINT})
    return finished, priority, created, position, name
