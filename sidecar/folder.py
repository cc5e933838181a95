"""The folder of one attempt: what is laid out for the agent, what the agent and its program have left there.

It reads and writes files and decides nothing. Layout, beside the packet's texts:

    started       the sidecar's own mark: a program may have been started
    confirmed     the agent's mark: it has taken the work up (woken agents)
    result.json   the agent's word
    updates/      changes of the task and answers that came while it was being worked on
    work/ tmp/    where the agent works, and its temporary files
    output.log    what the program printed (and output.log.1), kept within bounds
    stdout.log stderr.log   the same apart, only until they were read
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.wire import plain
from coordinator.wire.frames import TaskUpdated
from sidecar.durable import read_plain
from sidecar.outcome import TAIL_BYTES
from sidecar.packet import Packet, update_text
from sidecar.runtimes.reading import Printed

#: Largest result file that is read at all, in bytes.
RESULT_FILE_BYTES = 16 * 1024 * 1024
#: How many files of a scratch folder are named in a result; the rest is counted.
FILES_NAMED = 100
_NOT_LISTED = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_UPDATES = frozenset({"updates", "updates.jsonl"})
_STREAMS = ("stdout.log", "stderr.log")


@dataclass(frozen=True, slots=True)
class Folder:
    """One attempt's folder; every method may raise OSError unless it says otherwise."""

    path: Path

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    @property
    def task_file(self) -> Path:
        return self.path / "task.md"

    @property
    def result_file(self) -> Path:
        return self.path / "result.json"

    @property
    def confirmed_file(self) -> Path:
        return self.path / "confirmed"

    @property
    def streams(self) -> tuple[Path, Path]:
        return self.path / _STREAMS[0], self.path / _STREAMS[1]

    def make(self) -> None:
        """Make it anew, with nothing of before but changes of the task, which may have come already."""
        if self.path.exists():
            for entry in self.path.iterdir():
                if entry.name in _UPDATES:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        for folder in (self.work, self.tmp):
            folder.mkdir(mode=0o700, parents=True)

    def lay_out(self, packet: Packet) -> None:
        """Write the packet's texts."""
        texts = {"task.md": packet.task_md, "task.json": packet.task_json, "context.md": packet.context_md}
        for name, text in texts.items():
            if text:
                (self.path / name).write_text(text, encoding="utf-8")

    def tidy(self) -> None:
        """Remove what was only needed while the program ran; what cannot be removed stays. Never raises."""
        shutil.rmtree(self.tmp, ignore_errors=True)
        for name in _STREAMS:
            for path in (self.path / name, self.path / f"{name}.1"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def spell_updates(self, updates: Sequence[Mapping[str, Any]]) -> Path:
        """Let each change of the task that the spool keeps be a file of its own in updates/; return the newest.

        Each appears whole, and one that is there stays as it is.
        """
        folder = self.path / "updates"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder
        for number, update in enumerate(updates, 1):
            file = folder / f"{number:04}.md"
            if not file.exists():
                temporary = file.with_suffix(".tmp")
                temporary.write_text(update_text(TaskUpdated.model_validate(update)), encoding="utf-8")
                temporary.replace(file)
        return file

    def result(self) -> bytes | None:
        """Return the result file, None when there is none; one that cannot be read is a failed result. Never raises."""
        return read_result_file(self.result_file)

    def tail(self) -> bytes:
        """Return the last output, from both sides of a rotation; empty when there is none. Never raises."""
        return _last(self.path / "output.log", TAIL_BYTES)

    def printed(self) -> Printed:
        """Return what the program printed, as far as it was kept. Never raises."""
        out, err = (_last(path, RESULT_FILE_BYTES).decode(errors="replace") for path in self.streams)
        return Printed(out, err, self.tail().decode(errors="replace"))

    def output_bytes(self) -> int:
        """Return how much output there is at least. Never raises."""
        total = 0
        for name in ("output.log", "output.log.1"):
            with contextlib.suppress(OSError):
                total += (self.path / name).stat().st_size
        return total

    def files(self) -> tuple[list[dict[str, Any]], int]:
        """Return names and sizes of the first files in work/, sorted, and how many more there are. Never raises."""
        found: list[dict[str, Any]] = []
        more = 0
        for parent, folders, names in os.walk(self.work):
            folders[:] = sorted(name for name in folders if name not in _NOT_LISTED)
            for name in sorted(names):
                path = Path(parent, name)
                if len(found) >= FILES_NAMED:
                    more += 1
                    continue
                with contextlib.suppress(OSError):
                    relative = plain.plain_text(str(path.relative_to(self.work)))
                    found.append({"path": relative, "bytes": path.lstat().st_size})
        return found, more


def read_result_file(path: Path) -> bytes | None:
    """Return a result file, None when there is none; one that cannot be read is a failed result."""
    try:
        data = read_plain(path, RESULT_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return json.dumps({"status": "failed", "error": f"the result file cannot be read: {error}"}).encode()
    if len(data) > RESULT_FILE_BYTES:
        return json.dumps({"status": "failed", "error": f"the result file is over {RESULT_FILE_BYTES} B"}).encode()
    return data


def _last(path: Path, size: int) -> bytes:
    tail = b""
    for one in (path, path.with_name(path.name + ".1")):
        with contextlib.suppress(OSError), one.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            tail = file.read() + tail
        if len(tail) >= size:
            break
    return tail[-size:]
