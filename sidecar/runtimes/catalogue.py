"""Which runtimes exist, as data, and what each makes of one assignment: an argument list, or a refusal.

A runtime never sees a shell: words come from the sidecar's own config file, ``${NAME}`` is replaced inside one word by
an id or a path, and the task's text reaches the child only as a file. It starts nothing itself.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.values import Key

_VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")
#: What may stand in an argument; texts that somebody else wrote may not.
VARIABLES = frozenset({"TASK_ID", "GENERATION", "TASK_FILE", "RESULT_FILE", "RESULTS_DIR"})


@dataclass(frozen=True, slots=True)
class Definition:
    """One known runtime. ``argv`` None means that the config file gives it."""

    name: str
    argv: tuple[str, ...] | None = None
    scripted: bool = False


#: -P keeps a folder ``sidecar`` in the task's working directory from being imported instead.
_FAKE = (sys.executable, "-P", "-m", "sidecar.runtimes.fake", "${MODE}")
RUNTIMES: Mapping[str, Definition] = {
    definition.name: definition
    for definition in (
        Definition("shell"),
        Definition("fake", argv=_FAKE, scripted=True),
    )
}

#: What the fake runtime can be told to do; ``reject`` and ``busy`` are answered before anything runs.
FAKE_MODES = ("ok", "fail", "hang", "crash", "slow", "reject", "busy", "rate-limited", "not-logged-in")
_REFUSALS = {"reject": "the fake runtime was told to reject this one", "busy": "busy"}


def unknown_variables(argv: tuple[str, ...]) -> list[str]:
    """Return the ``${NAME}`` in an argument list that no runtime fills in."""
    return [name for word in argv for name in _VARIABLE.findall(word) if name not in VARIABLES]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One configured runtime. ``journal`` is where a scripted one notes which assignment got which mode."""

    definition: Definition
    argv: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    journal: Path = Path("fake-script.log")

    def refusal(self, key: Key) -> str | None:
        """Return why this assignment is not taken, None when it is."""
        return _REFUSALS.get(self._mode(key)) if self.definition.scripted else None

    def command(self, key: Key, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the argument list of one attempt; ``environment`` holds the ``AGENTCOM_...`` values it may name."""
        values = {name: environment[f"AGENTCOM_{name}"] for name in VARIABLES}
        if self.definition.scripted:
            values["MODE"] = self._mode(key)
        words = self.definition.argv or self.argv
        return tuple(_VARIABLE.sub(lambda match: values.get(match[1], match[0]), word) for word in words)

    def _mode(self, key: Key) -> str:
        """Return the mode of this assignment by the order of first sight, the same again after a restart."""
        try:
            seen = self.journal.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            seen = []
        if str(key) not in seen:
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(f"{key}\n")
            seen.append(str(key))
        place = seen.index(str(key))
        return self.script[place] if place < len(self.script) else "ok"
