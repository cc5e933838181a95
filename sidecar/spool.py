"""What an agent at work says, and what is said to it, as files in the folder of its attempt.

Both sides use this module: ``agentcom-report`` and the MCP server beside the agent, which have neither network nor
token, and the daemon, which looks into the folder while the attempt is in hand. Every file appears whole and is on disk
before a function returns. It loads next to nothing, because a command of the agent's starts with it.

    confirmed               the agent has taken the work up
    reports/N-PID-KIND.json progress and notes, until they are read; questions, which stay
    result.json             its last word
    updates.jsonl           one line for each change of the task and each answer, as they came
    requests/ID.json        what it wants from the hub, until that is done
    replies/ID.json         what came of it

It decides nothing about tasks and knows no hub.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.wire import plain
from sidecar.durable import append_durably, read_plain, write_durably, write_first

#: A file that is larger than this is not read, in bytes; larger words are refused before they are written.
FILE_BYTES = 2 * 1024 * 1024
#: How many files are read in one look, and how many characters of notes it yields.
FILES_AT_ONCE = 200
NOTE_CHARS = 2000
_QUESTION = "-question.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the agent is: percent, its last notes one a line, tokens used so far. None: nothing was said of it."""

    percent: float | None = None
    note: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What the agent has asked and got no answer to; None: nothing any more."""

    text: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """Something that only the sidecar may do at the hub; ``name`` is new for each."""

    name: str
    body: Mapping[str, Any]


class Spool:
    """The files of one attempt; every method but the reading ones may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._question: str | None = None

    # --- the agent's side -------------------------------------------------------------------------------------------

    def confirm(self) -> None:
        """Note that the work is taken up."""
        write_durably(self.folder / "confirmed", b"")

    def say(self, kind: str, **fields: Any) -> str:
        """Leave one report for the sidecar; return its name."""
        name = f"{self._next('reports')}-{kind}"
        self._write("reports", name, fields)
        return name

    def ask(self, question: str) -> int:
        """Ask people something; return how many answers there were before. The same open question is asked once."""
        before = len(self.answers())
        if self.open_question() != question:
            self.say("question", question=question, answers=before)
        return before

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any] | None:
        """Say the last word; return the one said before, which stays in force, or None when this is the first."""
        path = self.folder / "result.json"
        data = json.dumps(result, ensure_ascii=False).encode(errors="replace")
        if write_first(path, data):
            return None
        before = _read(path)
        if before is None:  # nothing that can be read: no word at all
            write_durably(path, data)
        return before

    def result(self) -> dict[str, Any] | None:
        """Return the last word, None when there is none that can be read."""
        return _read(self.folder / "result.json")

    def request(self, body: Mapping[str, Any]) -> Request:
        """Ask the sidecar for something at the hub."""
        request = Request(self._next("requests", "replies"), body)
        self._write("requests", request.name, body)
        return request

    def reply(self, request: Request) -> dict[str, Any] | None:
        """Return what came of a request, None when nothing has come yet."""
        return _read(self.folder / "replies" / f"{request.name}.json")

    # --- what both sides read ---------------------------------------------------------------------------------------

    def updates(self) -> list[dict[str, Any]]:
        """Return every change and answer so far, oldest first."""
        found = []
        with contextlib.suppress(OSError):
            for line in (self.folder / "updates.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return [update for update in found if isinstance(update, dict)]

    def answers(self) -> list[str]:
        """Return every answer so far, oldest first."""
        return [str(update["answer"]) for update in self.updates() if update.get("answer") is not None]

    def open_question(self) -> str | None:
        """Return the newest question when no answer came after it."""
        newest = max((name for name in self._names("reports") if name.endswith(_QUESTION)), default=None)
        said = newest and _read(self.folder / "reports" / newest)
        if not said or not isinstance(said.get("question"), str) or len(self.answers()) > said.get("answers", 0):
            return None
        return str(said["question"])

    # --- the sidecar's side -----------------------------------------------------------------------------------------

    def update(self, frame: Mapping[str, Any]) -> bool:
        """Keep a change of the task or an answer; return False for an answer that is known already, by its number."""
        number = frame.get("answer_number")
        if number is not None and frame.get("answer") is not None and number <= len(self.answers()):
            return False
        append_durably(self.folder / "updates.jsonl", json.dumps(frame, ensure_ascii=False).encode() + b"\n")
        return True

    def look(self) -> list[Progress | Question]:
        """Return what was said since the last look: at most one of each."""
        percent, tokens, notes = None, None, []
        names = self._names("reports")
        for name in [name for name in names if not name.endswith(_QUESTION)][:FILES_AT_ONCE]:
            path = self.folder / "reports" / name
            said = _read(path) or {}
            with contextlib.suppress(OSError):
                path.unlink()
            percent = _number(said.get("progress"), percent)
            tokens = _number(said.get("tokens"), tokens)
            if isinstance(said.get("note"), str):
                notes.append(said["note"])
        heard: list[Progress | Question] = []
        if notes or percent is not None or tokens is not None:
            note = "\n".join(notes)[-NOTE_CHARS:] if notes else None
            heard.append(Progress(percent, note, None if tokens is None else int(tokens)))
        question = self.open_question() if any(name.endswith(_QUESTION) for name in names) else None
        if question != self._question:
            self._question = question
            heard.append(Question(question))
        return heard

    def requests(self) -> Iterator[Request]:
        """Yield what the agent wants from the hub, oldest first; one that cannot be read is answered at once."""
        for name in self._names("requests")[:FILES_AT_ONCE]:
            body = _read(self.folder / "requests" / name)
            request = Request(name.removesuffix(".json"), body or {})
            if body is None:
                self.answer(request, {"error": "this request cannot be read"})
            else:
                yield request

    def answer(self, request: Request, reply: Mapping[str, Any]) -> None:
        """Leave the reply to a request, which is done with that."""
        self._write("replies", request.name, reply)
        (self.folder / "requests" / f"{request.name}.json").unlink(missing_ok=True)

    # --- files ------------------------------------------------------------------------------------------------------

    def _write(self, where: str, name: str, fields: Mapping[str, Any]) -> None:
        (self.folder / where).mkdir(mode=0o700, exist_ok=True)
        data = json.dumps(fields, ensure_ascii=False).encode(errors="replace")
        write_durably(self.folder / where / f"{name}.json", data)

    def _next(self, *folders: str) -> str:
        """Return a name above all in these folders: clocks jump, and the order of words must not."""
        newest = max((name.partition("-")[0] for where in folders for name in self._names(where)), default="0")
        return f"{int(newest) + 1 if newest.isdecimal() else 1:08}-{os.getpid()}"

    def _names(self, where: str) -> list[str]:
        try:
            names = os.listdir(self.folder / where)  # noqa: PTH208 - names alone, and called often
        except OSError:
            return []
        return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))


def _number(value: object, otherwise: float | None) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 2**53
    return float(value) if good and isinstance(value, int | float) else otherwise


def _read(path: Path) -> dict[str, Any] | None:
    """Return the object in a file, made plain; None when there is none that can be read."""
    try:
        found = plain.read(read_plain(path, FILE_BYTES))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
