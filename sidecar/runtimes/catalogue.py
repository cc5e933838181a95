"""Where runtimes are found, and what a configured one makes of one assignment: an argument list, or a refusal.

A runtime never sees a shell: words come from runtime files and the sidecar's own config file, ``${NAME}`` is replaced
inside one word by an id or a path, and the task's text is a file, the standard input, or one word that is nothing else.
It starts nothing itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.runtimes.schema import LISTS, VARIABLE, VARIABLES, Definition, Permissions, RuntimeFileError, load
from sidecar.values import Key

_PRESETS = Path(__file__).parent
#: A word longer than this is not given to a program; Linux takes 128 KiB.
ARGUMENT_BYTES = 96 * 1024
_POINTER = "AgentCom task ${TASK_ID}, attempt ${GENERATION}: read the file ${TASK_FILE} and do what it says."

#: What the fake runtime can be told to do; ``reject`` and ``busy`` are answered before anything runs.
FAKE_MODES = ("ok", "fail", "hang", "crash", "slow", "reject", "busy", "rate-limited", "not-logged-in")
_REFUSALS = {"reject": "the fake runtime was told to reject this one", "busy": "busy"}


def presets() -> list[str]:
    """Return the names of the runtimes that come with AgentCom."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def known(folder: Path) -> list[str]:
    """Return every name that ``find`` knows, those of people's own files in ``folder`` first."""
    own = sorted(path.stem for path in folder.glob("*.yaml"))
    return own + [name for name in presets() if name not in own]


def find(name: str, folder: Path) -> Definition | None:
    """Return the runtime of that name: a file in ``folder``, else a preset, else None. Raises RuntimeFileError."""
    for place in (folder, _PRESETS):
        path = place / f"{name}.yaml"
        if path.is_file():
            return load(path)
    return None


def unknown_variables(argv: tuple[str, ...]) -> list[str]:
    """Return the ``${NAME}`` in an argument list of the config file that no runtime fills in."""
    return [name for word in argv for name in VARIABLE.findall(word) if name not in VARIABLES]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One configured runtime. ``journal`` is where a scripted one notes which assignment got which mode."""

    definition: Definition
    argv: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    journal: Path = Path("fake-script.log")
    profile: str = "dev"
    program: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def permissions(self) -> Permissions:
        """What the profile adds."""
        found = {str(name): one for name, one in self.definition.profiles.items()}
        return found.get(self.profile) or Permissions()

    def refusal(self, key: Key) -> str | None:
        """Return why this assignment is not taken, None when it is."""
        return _REFUSALS.get(self._mode(key)) if self.definition.scripted else None

    def mode(self, key: Key) -> str:
        """Return what a scripted runtime does with this assignment, an empty text for any other."""
        return self._mode(key) if self.definition.scripted else ""

    def command(self, values: Mapping[str, str], prompt: str, announcing: bool = False) -> tuple[str, ...]:
        """Return the argument list of one attempt; ``values`` fills in ``VARIABLES``, ``prompt`` is task.md.

        With ``announcing`` the prompt stands in the place of the runtime's own text.
        """
        lists = {"PROFILE": self.permissions.argv, "OPTIONS": self._options(), "ARGS": self.args}
        words: list[str] = []
        for word in self._located(self.definition.argv or self.argv):
            match = VARIABLE.fullmatch(word)
            words += lists[match[1]] if match and match[1] in LISTS else (word,)
        filled = [filled_in(word, values) for word in words]
        how = self.definition.prompt
        if how.by == "flag" and how.flag:
            filled.append(how.flag)
        if how.by in ("flag", "argument"):
            short = (how.text is None or announcing) and len(prompt.encode()) <= ARGUMENT_BYTES
            filled.append(prompt if short else filled_in(how.text or _POINTER, values))
        return tuple(filled)

    def environment(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the runtime and its profile ask for."""
        wanted = {**self.definition.env, **self.permissions.env}
        return {name: filled_in(value, values) for name, value in wanted.items()}

    def question(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command of a question (version, login) with the configured program in the place of the usual."""
        return self._located(argv)

    def _located(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        usual = self.definition.argv
        return (*self.program, *argv[1:]) if self.program and usual and argv[:1] == usual[:1] else argv

    def _options(self) -> tuple[str, ...]:
        return tuple(
            word.replace("${VALUE}", self.options[name])
            for name, option in self.definition.options.items()
            if name in self.options
            for word in option.argv
        )

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


def filled_in(word: str, values: Mapping[str, str]) -> str:
    """Return ``word`` with its variables replaced; what is not among ``values`` stays as it is."""
    return VARIABLE.sub(lambda match: values.get(match[1], match[0]), word)


__all__ = ["FAKE_MODES", "Definition", "Runtime", "RuntimeFileError", "filled_in", "find", "known", "presets"]
