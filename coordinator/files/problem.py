"""What is wrong with a file, where, and what to do about it: a value that every reader returns and every screen shows.

This module knows no kind of file.
"""

import re
from dataclasses import dataclass, replace

from coordinator.files import secrets

#: What is no text of one line, and steers a terminal.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake; ``line`` and ``column`` count from 1, 0 means unknown; ``hint`` says what to do next.

    ``task_id`` names the task whose last good version, if it ever had one, stays in force because of it.
    """

    path: str
    line: int = 0
    column: int = 0
    field: str = ""
    what: str = ""
    hint: str = ""
    task_id: str = ""

    def __str__(self) -> str:
        """Return ``path:line:col: field: what, hint``; empty parts are left out."""
        place = self.path
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        text = ", ".join(part for part in (self.what, self.hint) if part)
        return ": ".join(part for part in (place, self.field, text) if part)

    def anywhere(self) -> "Problem":
        """Return the same mistake without its line: other edits of the file move it."""
        return replace(self, line=0, column=0)


def shown(text: str) -> str:
    """Return ``text`` short, in one line and without secrets, for a message."""
    flat = " ".join(CONTROL.sub(" ", secrets.hide(text)).split())
    return (flat or '""') if len(flat) <= 60 else flat[:57] + "..."
