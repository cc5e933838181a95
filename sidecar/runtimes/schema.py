"""What a runtime file may say: the schema of ``sidecar/runtimes/*.yaml`` and of the files that people add.

A runtime file is data: which program, how the prompt reaches it, what its output means, what it may do. It decides
nothing about tasks and starts nothing. Whatever is wrong with one is a line that names file, field and remedy.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from coordinator.wire.frames import FailureClass

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
#: Variables of a word, ``${NAME}``: ids, paths and numbers, never a text that somebody else wrote.
VARIABLES = frozenset(
    "TASK_ID GENERATION TASK_FILE RESULT_FILE RESULTS_DIR PACKET_DIR WORK_DIR TMP_DIR SESSION TIMEOUT_S PYTHON "
    "MODE".split()
)
#: Words that stand for lists of words.
LISTS = frozenset({"PROFILE", "OPTIONS", "ARGS"})
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")
PROFILES = ("read", "edit", "dev", "full")
Profile = Literal["read", "edit", "dev", "full"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?\Z")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class RuntimeFileError(Exception):
    """The author of a runtime file must change it; the message is one line: file, field, what."""


def seconds(value: object) -> float:
    """Read a duration: a number and ms, s, m, h or d. Raises ValueError."""
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration; write e.g. 30s or 5m")
    return float(match[1]) * _UNITS[match[2] or "s"]


Seconds = Annotated[float, BeforeValidator(seconds)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prompt(_Model):
    """How the task reaches the program.

    ``by`` ``variable``: the program reads ``$AGENTCOM_TASK_FILE``; ``file``: argv names ``${TASK_FILE}``; ``stdin``:
    task.md is its standard input; ``argument`` and ``flag``: one last word of argv, never part of another. ``text``
    stands there in place of task.md: a pointer of one line.
    """

    by: Literal["variable", "file", "stdin", "argument", "flag"] = "variable"
    flag: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Prompt":
        if (self.by == "flag") != (self.flag is not None):
            raise ValueError("flag belongs to `by: flag`, and only there")
        if self.text is not None and self.by not in ("argument", "flag"):
            raise ValueError("text belongs to `by: argument` or `by: flag`")
        return self


class Permissions(_Model):
    """What one profile adds to the command and its environment."""

    argv: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)


class Option(_Model):
    """Something that the sidecar's config file may set, e.g. the model; ``${VALUE}`` is what it says."""

    argv: tuple[str, ...]
    about: str
    required: bool = False


class Version(_Model):
    """How to ask for the version; the first group of ``pattern`` is it."""

    argv: tuple[str, ...]
    minimum: str
    pattern: str = r"(\d+(?:\.\d+)+)"


class Login(_Model):
    """How to ask, without cost, whether the program can work: it ends with one of the codes in ``ok``.

    It is not asked when one of the variables ``unless`` is set, which the question does not know of.
    """

    argv: tuple[str, ...]
    say: str
    ok: tuple[int, ...] = (0,)
    unless: tuple[str, ...] = ()
    timeout: Seconds = 30.0


class Pick(_Model):
    """Where values stand in the objects that the program prints: ``where`` chooses objects, ``paths`` their values.

    A path is ``a.b.c``, ``*`` any key or place. ``last``: of the last object that matches; ``sum``: of all of them.
    """

    where: dict[str, Any] = Field(default_factory=dict)
    paths: tuple[str, ...]
    take: Literal["last", "sum"] = "last"


class Sign(_Model):
    """What a failure looks like. All that is given must hold: fields of one object, exit codes, a pattern of text."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    failure_class: FailureClass = Field(alias="class")
    say: str
    where: dict[str, Any] = Field(default_factory=dict)
    exit: tuple[int, ...] = ()
    text: str | None = None
    #: A path in the object that ``where`` found, whose values people should see.
    show: str | None = None

    @field_validator("text")
    @classmethod
    def _pattern(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                re.compile(text)
            except re.error as error:
                raise ValueError(f"no pattern: {error}") from None
        return text

    @model_validator(mode="after")
    def _says_something(self) -> "Sign":
        if not (self.where or self.exit or self.text):
            raise ValueError("needs where, exit or text")
        return self


class Output(_Model):
    """What the program prints on its standard output, and which part of it means what.

    ``json``: one object; ``jsonl``: one in each line; ``text``: nothing that could be read. Success needs an ``answer``
    that is not empty, and ``end``: the last object for which its first condition holds must be as the others say.
    """

    format: Literal["json", "jsonl", "text"] = "text"
    end: dict[str, Any] = Field(default_factory=dict)
    answer: Pick | None = None
    error: tuple[Pick, ...] = ()
    tokens: Pick | None = None
    cost: Pick | None = None
    session: Pick | None = None
    retry_at: Pick | None = None


class Wake(_Model):
    """How long nothing need be heard of a woken agent: pauses before each further wake, then before giving up."""

    again: tuple[Seconds, ...] = (5.0, 15.0, 30.0)
    confirm: Seconds = 60.0


class Install(_Model):
    """Which package the file was checked against (``make runtimes``), and the Node that it needs, if a special one."""

    npm: str
    node: str | None = None


class Definition(_Model):
    """One runtime."""

    name: str
    about: str
    #: None: the sidecar's config file gives it.
    argv: tuple[str, ...] | None = None
    prompt: Prompt = Prompt()
    cwd: str = "${WORK_DIR}"
    env: dict[str, str] = Field(default_factory=dict)
    completion: Literal["exit", "report"] = "exit"
    wake: Wake = Wake()
    #: How the agent is told to report: by the file in a variable, by the path of that file, or just by its answer.
    report: Literal["variable", "path", "answer"] = "variable"
    profiles: dict[Profile, Permissions] = {"dev": Permissions()}
    profile_note: str = ""
    options: dict[str, Option] = Field(default_factory=dict)
    version: Version | None = None
    login: Login | None = None
    output: Output = Output()
    #: What takes success away from a run that ended well by its own account.
    refused: tuple[Sign, ...] = ()
    #: What a failure was, in this order, before the signs that hold for every runtime.
    signs: tuple[Sign, ...] = ()
    #: What in the output so far ends a run that would go on trying.
    give_up: tuple[Sign, ...] = ()
    #: A run without any output for so long is ended; nothing means that it may think in silence.
    first_output: Seconds | None = None
    scripted: bool = False
    #: What `doctor` asks of it: to edit, run and report, or only to report.
    round_trip: Literal["work", "report"] = "work"
    install: Install | None = None
    #: Whose help must name every flag of this file (``make runtimes``).
    help: tuple[tuple[str, ...], ...] = ()

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.match(name):
            raise ValueError(f"{name!r} is no name; use a-z, 0-9 and -")
        return name

    @model_validator(mode="after")
    def _sound(self) -> "Definition":
        if self.argv is not None and not self.argv:
            raise ValueError("argv is empty")
        if self.prompt.by in ("argument", "flag") and self.argv and self.argv[-1] in ("-c", "-lc", "-ec"):
            raise ValueError("a prompt is never given to a shell as its command")
        if self.output.format != "text" and not self.output.end:
            raise ValueError(f"output.format {self.output.format} needs output.end: exit code 0 alone is never success")
        if self.output.format != "text" and self.completion == "exit" and self.output.answer is None:
            raise ValueError(f"output.format {self.output.format} needs output.answer: an empty answer is no success")
        if not self.profiles:
            raise ValueError("profiles is empty; leave it out if there is only dev")
        for word in self.words:
            for variable in VARIABLE.findall(word):
                if variable not in VARIABLES | LISTS | {"VALUE"}:
                    raise ValueError(f"${{{variable}}} is not known; known are {', '.join(sorted(VARIABLES | LISTS))}")
                if variable in LISTS and word != f"${{{variable}}}":
                    raise ValueError(f"${{{variable}}} stands for several words and must be a word of its own")
        return self

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every word of every command line of this file."""
        found = [*(self.argv or ()), self.cwd, *self.env.values(), self.prompt.text or ""]
        for profile in self.profiles.values():
            found += [*profile.argv, *profile.env.values()]
        for option in self.options.values():
            found += option.argv
        return tuple(found)


def load(path: Path) -> Definition:
    """Read one runtime file. Raises RuntimeFileError."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RuntimeFileError(f"{path}: cannot be read: {reason}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise RuntimeFileError(f"{path}{place}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RuntimeFileError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise RuntimeFileError(f"{path}: must hold keys and values (name: ..., about: ..., argv: [...])")
    try:
        definition = Definition.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        what = first["msg"].removeprefix("Value error, ")
        known = f"; known are {', '.join(Definition.model_fields)}" if len(first["loc"]) == 1 else ""
        unknown = first["type"] == "extra_forbidden"
        raise RuntimeFileError(f"{path}: {field}: {f'unknown key{known}' if unknown else what}") from error
    if definition.name != path.stem:
        raise RuntimeFileError(f"{path}: name: {definition.name!r} is not the file's name; write {path.stem}")
    return definition
