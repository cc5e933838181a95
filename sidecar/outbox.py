"""The sidecar's memory on disk: ``queue.json`` and one folder per attempt (PROTOCOL 3, DECISIONS 14).

Layout below ``state_dir``:

    queue.json                      what was accepted, every result not answered, what ended lately
    instance-id                     random, made once
    results/<task_id>.<generation>/ one attempt (folder.py)

A write returns only when it is on disk. This module decides nothing about tasks.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coordinator.wire.frames import TaskAssign, TaskBlocked, TaskComplete, TaskFailed, TaskReleased
from sidecar.durable import sync_folder, write_durably
from sidecar.inheriting import inherited, is_nodes
from sidecar.values import Attempt, Fate, Inherited, Key, Parcel, Queue, Stage

SCHEMA_VERSION = 1
#: Folders of answered attempts that stay for people to look at: so many, so old (seconds), so large together (bytes).
FOLDERS_KEPT = 50
FOLDERS_AGE_S = 30 * 24 * 3600.0
FOLDERS_BYTES = 2 * 1024**3

_FATES: dict[str, type[TaskComplete] | type[TaskFailed] | type[TaskBlocked] | type[TaskReleased]] = {
    "task_complete": TaskComplete,
    "task_failed": TaskFailed,
    "task_blocked": TaskBlocked,
    "task_released": TaskReleased,
}


class QueueUnreadable(Exception):
    """queue.json is not what this sidecar wrote; the message says why."""


def write_pid(path: Path) -> None:
    """Say which process holds the identity, for the next one who asks."""
    write_durably(path, f"{os.getpid()}\n".encode())


def encode_queue(queue: Queue) -> bytes:
    """Return queue.json for ``queue``."""
    attempt = queue.attempt
    data = {
        "schema_version": SCHEMA_VERSION,
        "attempt": attempt and {"stage": attempt.stage.value, "assignment": json.loads(attempt.assignment.encode())},
        "outbox": [json.loads(parcel.frame.encode()) for parcel in queue.parcels],
        "ended": [[key.task_id, key.generation] for key in queue.ended],
    }
    if queue.inherited is not None:
        data["inherited"] = asdict(queue.inherited)
    return json.dumps(data, ensure_ascii=False, indent=1).encode() + b"\n"


def decode_queue(data: bytes) -> Queue:
    """Read queue.json, also that of a Node sidecar; raises QueueUnreadable when anything in it is of neither form."""
    try:
        raw: Any = json.loads(data)
        if is_nodes(raw):
            return Queue(inherited=inherited(raw))
        if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
            raise QueueUnreadable(f"schema_version is not {SCHEMA_VERSION}")
        attempt = None
        if raw["attempt"] is not None:
            assignment = TaskAssign.model_validate(raw["attempt"]["assignment"])
            attempt = Attempt(Stage(raw["attempt"]["stage"]), assignment)
        return Queue(
            attempt=attempt,
            parcels=tuple(_parcel(item) for item in raw["outbox"]),
            ended=tuple(Key(str(task_id), int(generation)) for task_id, generation in raw["ended"]),
            inherited=Inherited(**raw["inherited"]) if raw.get("inherited") else None,
        )
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise QueueUnreadable(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _parcel(item: dict[str, Any]) -> Parcel:
    frame: Fate = _FATES[item["type"]].model_validate(item)
    if frame.generation is None:
        raise ValueError("a result without a generation")
    return Parcel(Key(frame.task_id, frame.generation), frame)


class Outbox:
    """The files of one sidecar; every method touches the disk and may raise OSError."""

    def __init__(self, state_dir: Path, results_dir: Path | None = None) -> None:
        self.state_dir = state_dir
        self.results_dir = results_dir or state_dir / "results"
        self.queue_file = state_dir / "queue.json"

    def prepare(self) -> None:
        """Make the folders, private to this user."""
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.results_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def take_over(self) -> str | None:
        """Turn a Node sidecar's queue.json into one of ours and keep its own beside it; return a line for people.

        None when there is nothing to take over.
        """
        try:
            data = self.queue_file.read_bytes()
            nodes = is_nodes(json.loads(data))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        if not nodes:
            return None
        kept = self.queue_file.with_name("queue.json.node")
        write_durably(kept, data)
        self.save(decode_queue(data))
        return f"{self.queue_file} was that of a Node sidecar; it is kept as {kept.name}"

    def load(self) -> tuple[Queue, str | None]:
        """Return the queue, and a line for people when an unreadable queue.json had to be set aside."""
        try:
            data = self.queue_file.read_bytes()
        except FileNotFoundError:
            return Queue(), None
        try:
            return decode_queue(data), None
        except QueueUnreadable as error:
            aside = self._free_name("queue.json.unreadable")
            self.queue_file.rename(aside)
            sync_folder(self.state_dir)
            return Queue(), (
                f"{self.queue_file}: cannot be read ({error}); it was set aside as {aside.name} and this sidecar goes "
                "on with an empty queue: look into it for results that the hub has not got"
            )

    def save(self, queue: Queue) -> None:
        """Make ``queue`` durable."""
        write_durably(self.queue_file, encode_queue(queue))

    def instance_id(self) -> str:
        """Return the id of this installation, made once."""
        path = self.state_dir / "instance-id"
        with contextlib.suppress(FileNotFoundError):
            known = path.read_text(encoding="utf-8").strip()
            if known:
                return known
        fresh = f"i-{secrets.token_hex(8)}"
        write_durably(path, fresh.encode() + b"\n")
        return fresh

    def folder(self, key: Key) -> Path:
        """Return the folder of one attempt; it need not exist."""
        return self.results_dir / str(key)

    def was_started(self, key: Key) -> bool:
        """Tell whether a child may ever have run for this attempt, whatever queue.json says."""
        return (self.folder(key) / "started").exists()

    def mark_started(self, key: Key) -> None:
        """Record, before the child exists, that it will."""
        write_durably(self.folder(key) / "started", b"")
        sync_folder(self.results_dir)

    def prune(self, in_use: Collection[Key]) -> None:
        """Remove the folders of answered attempts that are too old, and the oldest where they are too many or large."""
        names = {str(key) for key in in_use}
        folders = [entry for entry in self.results_dir.iterdir() if entry.is_dir() and entry.name not in names]
        ages = {entry: time.time() - entry.stat().st_mtime for entry in folders}
        room = FOLDERS_BYTES
        for number, entry in enumerate(sorted(folders, key=lambda entry: ages[entry])):
            if number < FOLDERS_KEPT and ages[entry] < FOLDERS_AGE_S and room > 0:
                room -= _size(entry)
            if number >= FOLDERS_KEPT or ages[entry] >= FOLDERS_AGE_S or (room <= 0 and number > 0):
                shutil.rmtree(entry, ignore_errors=True)

    def _free_name(self, stem: str) -> Path:
        number = 1
        while (self.state_dir / f"{stem}-{number}").exists():
            number += 1
        return self.state_dir / f"{stem}-{number}"
