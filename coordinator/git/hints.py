"""Hints from the file system: something happened in these folders, so it is worth looking now.

A hint may be lost, doubled or late and carries no content: whoever uses this looks regularly as well. Without a way to
be told (no inotify left) there are no hints, and one line in the log says so.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

_log = logging.getLogger(__name__)

#: What is a hint. Opening and reading are none: the look itself would set off the next one.
_HINTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to be watched, ``deep`` with all below it. It need not be there (yet)."""

    folder: Path
    deep: bool = False


class Hints(FileSystemEventHandler):
    """Calls ``poke``, on a thread of watchdog's, when something happens to a path that ``is_meant``.

    The threads live until ``close``.
    """

    def __init__(self, places: Sequence[Place], is_meant: Callable[[Path], bool], poke: Callable[[], object]) -> None:
        super().__init__()
        self._places = tuple(places)
        self._is_meant = is_meant
        self._poke = poke
        self._observer = Observer()
        self._observer.daemon = True
        self._watched: tuple[int | None, ...] = ()
        self._running = False
        self._open()

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = [Path(os.fsdecode(path)) for path in (event.src_path, event.dest_path)]
        if any(self._is_meant(path) for path in paths):
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._poke()

    def keep_up(self) -> None:
        """Watch anew when a folder was deleted or made again: the old watch is silent for ever."""
        if self._running and self._inodes() != self._watched:
            try:
                self._observer.unschedule_all()
                self._schedule()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Stop and wait for the threads."""
        if self._running:
            self._running = False
            self._observer.stop()
            self._observer.join()

    def _open(self) -> None:
        try:
            self._schedule()
            self._observer.start()
            self._running = True
        except OSError as error:
            self._give_up(error)

    def _schedule(self) -> None:
        self._watched = self._inodes()
        for place, inode in zip(self._places, self._watched, strict=True):
            if inode is not None:
                self._observer.schedule(self, str(place.folder), recursive=place.deep, event_filter=_HINTS)

    def _inodes(self) -> tuple[int | None, ...]:
        return tuple(_inode(place.folder) for place in self._places)

    def _give_up(self, error: OSError) -> None:
        _log.warning("no hints from the file system (%s): changes are noticed by looking alone", error)
        if self._running:
            self.close()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
