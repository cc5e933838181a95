"""The snapshot: what a start read, kept beside the repository so that the next one parses only what is new.

It lies in ``<common git dir>/agentcom/snapshot`` and may be deleted at any time. With or without it a start asks git
which files there are, and for the bytes of the hub's own; taken from it are only parsed values by blob id, and finished
days by tree id. One that is damaged, of other code or of another hub is passed over, and made anew later. This module
decides what makes one trustworthy, and when taking the next one is worth while.

    python -m coordinator.snapshot GIT_DIR      takes one, at the lowest priority; the hub starts this in quiet moments
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import markdown_it
import pydantic
import yaml
from pydantic import TypeAdapter

from coordinator import __version__
from coordinator.core.reconciler import Core
from coordinator.files import readings
from coordinator.files.observe import Observer
from coordinator.files.readings import Readings
from coordinator.git.journal import GitStore
from coordinator.git.repo import GitSource
from coordinator.ground import Ground, survey
from coordinator.memoir import rebuild

#: Of the form of the file itself.
SCHEMA_VERSION = 1
#: So many files that the next start would have to parse are worth a snapshot: they take about a tenth of a second.
WORTH = 1_000
#: How often the hub looks whether one is due, in seconds; nothing was committed between two looks: a quiet moment.
LOOK_EVERY_S = 10.0
#: A hub that is never quiet takes one after so many looks all the same.
LOOKS_AT_MOST = 360

_DAYS: TypeAdapter[dict[str, tuple[str, ...]]] = TypeAdapter(dict[str, tuple[str, ...]])
_log = logging.getLogger("agentcom.hub")


@dataclass(slots=True)
class Snapshot:
    """What need not be read again: parsed files, and finished days. An empty one changes nothing but the time."""

    readings: Readings = field(default_factory=Readings)
    days: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def forget(self) -> int:
        """Let go of everything once memory stands; return how many files had to be parsed."""
        missed = self.readings.missed
        self.readings.forget()
        self.days.clear()
        return missed


def path_of(ground: Ground) -> Path:
    return ground.place.folder / "snapshot"


def read(ground: Ground) -> Snapshot:
    """Return the snapshot of this repository, an empty one when there is none to be trusted."""
    try:
        data = _bytes_of(path_of(ground))
        head, days, known = data.split(b"\n", 2)
        if head != _head(ground, days, known):
            return Snapshot()
        return Snapshot(readings.load(known), _DAYS.validate_json(days))
    except (OSError, ValueError):
        return Snapshot()


def write(ground: Ground, snapshot: Snapshot) -> None:
    """Keep what was asked of a snapshot, whole or not at all. Raises OSError.

    Nothing is synced: what a power cut leaves of it is passed over by its checksum.
    """
    days, known = _DAYS.dump_json(snapshot.days), readings.dump(snapshot.readings)
    path = path_of(ground)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(b"\n".join((_head(ground, days, known), days, known)))
    temporary.replace(path)


def take(ground: Ground) -> None:
    """Rebuild the memory aside, and keep what was read for it. Raises what reading the branch raises, and OSError."""
    snapshot = read(ground)
    store = GitStore(ground.repo, ground.root, days=snapshot.days)
    source = GitSource(ground.repo, ground.watched_ref, ground.root)
    observer = Observer(source, ground.branch, ground.root, snapshot.readings)
    rebuild(Core(), store.load(), observer, store, source, readings=snapshot.readings)
    write(ground, snapshot)


def _bytes_of(path: Path) -> bytes:
    """Return a file that nobody else can have written. Raises OSError, ValueError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise ValueError(f"{path} is somebody else's")
        return file.read()


def _head(ground: Ground, *lines: bytes) -> bytes:
    """Return the first line of a snapshot that holds these lines: whose it is, of which code, and a checksum."""
    said = {
        "schema_version": SCHEMA_VERSION,
        "agentcom": __version__,
        "code": _code(),
        "hub_id": ground.place.hub_id(),
        "source": ground.source_ref,
        "root": ground.root,
        "objects": ground.repo.object_format,
        "sha256": hashlib.sha256(b"\n".join(lines)).hexdigest(),
    }
    return json.dumps(said).encode()


def _code() -> str:
    """Return what tells one reader of files from another: its code, and what it is built on."""
    here = Path(__file__).parent
    code = hashlib.sha256()
    for path in sorted([*(here / "core").glob("*.py"), *(here / "files").glob("*.py"), here / "git/listing.py"]):
        code.update(path.read_bytes())
    built_on = (sys.version, pydantic.VERSION, yaml.__version__, markdown_it.__version__)
    code.update("\n".join(built_on).encode())
    return code.hexdigest()


class Keeper:
    """Has a snapshot taken in quiet moments, once starting without a new one would cost something.

    It is taken by a process of its own: the loop and its threads share one interpreter, and a second of parsing would
    delay every flush. ``behind`` is how many files the start had to parse, ``commits`` how many were written since.
    """

    def __init__(self, ground: Ground, behind: int, commits: Callable[[], int]) -> None:
        self._git_dir = ground.repo.common_dir
        self._behind = behind
        self._commits = commits
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Keeper":
        self._keeping = asyncio.create_task(self._keep(), name="snapshot")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _keep(self) -> None:
        taken_at, last, looks = -self._behind, self._commits(), 0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            before, last, looks = last, self._commits(), looks + 1
            if is_due(last - taken_at, last - before, looks):
                taken_at, looks = last, 0
                await _take_aside(self._git_dir)


def is_due(behind: int, lately: int, looks: int) -> bool:
    """Tell whether a snapshot is worth while: ``behind`` files would have to be parsed, ``lately`` commits were made
    since the last look, ``looks`` were made since the last snapshot.
    """
    return behind >= WORTH and (lately == 0 or looks >= LOOKS_AT_MOST)


async def _take_aside(git_dir: Path) -> None:
    """Take a snapshot in a process of its own; when that fails, the next start is slower and nothing else."""
    argv = (
        sys.executable,
        "-P",
        "-m",
        "coordinator.snapshot",
        str(git_dir),
    )  # -P: nothing is imported from a work tree
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the hub, which ends it
        )
    except OSError as error:
        _log.warning("no snapshot was taken: %s", error)
        return
    try:
        _, said = await process.communicate()
        if process.returncode:
            last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            _log.warning("no snapshot was taken, the next start takes longer: %s", last)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def main() -> None:
    """Take a snapshot of the repository named, at the lowest priority."""
    os.nice(19)
    take(survey(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
