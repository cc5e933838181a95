"""What a sidecar holds and what its programs print, read from its state folder; it changes nothing there.

It works beside a running sidecar as well as without one.
"""

import codecs
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sidecar.config import Config
from sidecar.folder import Folder
from sidecar.outbox import Outbox, QueueUnreadable, decode_queue
from sidecar.outcome import printable
from sidecar.values import TASK_ID, Key, Queue

#: How often ``logs -f`` looks for more, in seconds.
LOOK_EVERY_S = 0.5


class NoSuchAttempt(Exception):
    """There is no output of such an attempt here; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one sidecar holds now; ``pid`` is None when none runs."""

    agent_id: str
    hub_url: str
    runtime: str
    profile: str
    pid: int | None
    queue: Queue
    trouble: str | None
    started: str | None
    confirmed: bool
    output_bytes: int

    def as_json(self) -> str:
        """Return one JSON object."""
        attempt = self.queue.attempt
        said: dict[str, Any] = {
            "schema_version": 1,
            "agent_id": self.agent_id,
            "hub_url": self.hub_url,
            "runtime": self.runtime,
            "profile": self.profile,
            "running": self.pid is not None,
            "pid": self.pid,
            "attempt": attempt
            and {
                "task_id": attempt.key.task_id,
                "generation": attempt.key.generation,
                "title": attempt.assignment.title,
                "stage": attempt.stage.value,
                "started_at": self.started,
                "confirmed": self.confirmed,
                "output_bytes": self.output_bytes,
            },
            "unanswered": [
                {"task_id": parcel.key.task_id, "generation": parcel.key.generation, "type": parcel.frame.type}
                for parcel in self.queue.parcels
            ],
            "inherited": self.queue.inherited and self.queue.inherited.task_id,
            "trouble": self.trouble,
        }
        return json.dumps(said, ensure_ascii=False, indent=2)

    def as_text(self) -> str:
        """Return a few lines for people."""
        where = f"runs (pid {self.pid})" if self.pid is not None else "does not run"
        lines = [f"{self.agent_id}: {where}; runtime {self.runtime}, profile {self.profile}; hub {self.hub_url}"]
        attempt = self.queue.attempt
        if self.queue.inherited is not None:
            lines.append(
                f"in hand: {self.queue.inherited.task_id}: of a Node sidecar; the hub has not said yet whose it is"
            )
        elif attempt is None:
            lines.append("in hand: nothing")
        else:
            title = printable(" ".join(attempt.assignment.title.split()))
            since = f" since {self.started}" if self.started else ""
            more = f", {self.output_bytes} bytes of output" if self.output_bytes else ""
            more += ", confirmed" if self.confirmed else ""
            lines.append(f"in hand: {attempt.key}: {title} ({attempt.stage.value}{since}{more})")
        for parcel in self.queue.parcels:
            lines.append(f"not answered yet: {parcel.key}: {parcel.frame.type}")
        if self.trouble:
            lines.append(self.trouble)
        return "\n".join(lines)


def look(config: Config) -> Seen:
    """Return what the sidecar of this config holds. Raises OSError."""
    outbox = Outbox(config.state_dir, config.results_dir)
    queue, trouble = _queue(outbox)
    folder = Folder(outbox.folder(queue.attempt.key)) if queue.attempt else None
    return Seen(
        agent_id=config.agent_id,
        hub_url=config.hub_url,
        runtime=config.runtime.definition.name,
        profile=config.runtime.profile,
        pid=running_pid(config.state_dir),
        queue=queue,
        trouble=trouble,
        started=_started(folder),
        confirmed=folder is not None and folder.confirmed_file.exists(),
        output_bytes=folder.output_bytes() if folder else 0,
    )


def running_pid(state_dir: Path) -> int | None:
    """Return the process that holds this state folder, 0 when its number is unknown, None when there is none."""
    lock_file = state_dir / "sidecar.lock"
    if not lock_file.exists():
        return None
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        try:
            return int((state_dir / "sidecar.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0
    lock.release()
    return None


class Output:
    """The output of one attempt, read on from where the last reading ended."""

    def __init__(self, config: Config, task_id: str, generation: int | None) -> None:
        self._outbox = Outbox(config.state_dir, config.results_dir)
        self._key = self._find(task_id, generation)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._inode = 0
        self._place = 0

    def is_over(self) -> bool:
        """Tell whether this attempt is no longer in hand: what is there then is all."""
        queue, _ = _queue(self._outbox)
        return queue.attempt is None or queue.attempt.key != self._key

    def more(self) -> str:
        """Return what has been printed since the last call, made harmless for a terminal."""
        log = self._outbox.folder(self._key) / "output.log"
        rotated = log.with_name("output.log.1")
        data = b""
        if self._inode == 0:
            data += self._read(rotated, 0)
        elif _inode(log) != self._inode:
            # The log was rotated: what we had begun is the older one now.
            data += self._read(rotated, self._place) if _inode(rotated) == self._inode else b""
            self._place = 0
        fresh = self._read(log, self._place)
        self._inode = _inode(log)
        self._place += len(fresh)
        return printable(self._decoder.decode(data + fresh))

    @staticmethod
    def _read(path: Path, place: int) -> bytes:
        try:
            with path.open("rb") as file:
                file.seek(place)
                return file.read()
        except FileNotFoundError:
            return b""

    def _find(self, task_id: str, generation: int | None) -> Key:
        if not TASK_ID.match(task_id):
            raise NoSuchAttempt(f"{task_id!r} is no id of a task")
        found = sorted(
            int(path.suffix[1:])
            for path in self._outbox.results_dir.glob(f"{task_id}.*")
            if path.is_dir() and path.suffix[1:].isdigit()
        )
        if not found:
            raise NoSuchAttempt(f"{task_id} was never worked on here, or so long ago that its folder is gone")
        if generation is not None and generation not in found:
            raise NoSuchAttempt(f"{task_id}.{generation} is not here; there are {', '.join(map(str, found))}")
        return Key(task_id, found[-1] if generation is None else generation)


def _queue(outbox: Outbox) -> tuple[Queue, str | None]:
    """Read queue.json and leave it where it is, also when it cannot be read."""
    try:
        return decode_queue(outbox.queue_file.read_bytes()), None
    except FileNotFoundError:
        return Queue(), None
    except QueueUnreadable as error:
        return Queue(), f"{outbox.queue_file}: cannot be read: {error}; the next start sets it aside"


def _started(folder: Folder | None) -> str | None:
    if folder is None:
        return None
    try:
        moment = (folder.path / "started").stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
