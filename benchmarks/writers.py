"""Who writes commits, and into what: one repository each, with the same open tasks and the same changes of them.

Every change is a new version of one status file of about 1 KB. What each writer promises differs: the engines of the
journal and ``git fast-import`` with a checkpoint after each flush have everything on disk when ``flush`` returns, ``git
commit`` and GitPython, as they ship, sync nothing. ``FileWriter`` is the disk alone: no commits, one fsync a flush.
"""

import abc
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from git import Actor, Repo

from coordinator.git.journal import HUB_ATTRIBUTES, Engine, GitStore
from coordinator.git.message import compose
from coordinator.git.repo import find_repo
from coordinator.git.run import hub_env
from coordinator.ports import Author, Commit

#: How long one process of a writer may take, in seconds.
PATIENCE_S = 120.0
#: Finished tasks of one day in a repository that has many.
CLOSED_A_DAY = 1_000

_WHO = Author("loash", "loash@agents.agentcom.invalid")
_PERSON = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
_SIGNED = [("Agentcom-Epoch", "3/h-7c2qk9wd")]


def status_file(task: int, number: int) -> bytes:
    """Return a status file of about 1 KB, the ``number``-th version of it."""
    head = f"schema_version: 1\nid: t-{task:08x}\nstatus: working\ngeneration: {number}\nassigned_to: loash\nhistory:\n"
    rows = (
        f"  - {{generation: {past}, agent: a-{(task * 7 + past) % 13}, end: failed, ended: 2026-11-2{past}T10:00Z}}\n"
        for past in range(9)
    )
    return (head + "".join(rows) + f"updated_at: 2026-11-22T10:{number % 60:02}:{task % 60:02}Z\n").encode()


def path_of(task: int) -> str:
    return f"status/open/t-{task:08x}.yaml"


def closed_path(task: int) -> str:
    day = task // CLOSED_A_DAY
    return f"status/closed/{2000 + day // 336}/{day // 28 % 12 + 1:02}/{day % 28 + 1:02}/t-{task:08x}.yaml"


def record(task: int, number: int) -> Commit:
    """Return one commit as the hub makes it for one change of one task."""
    trailers = [
        ("Agentcom-Task", f"t-{task:08x}"),
        ("Agentcom-Event", "started"),
        ("Agentcom-Generation", str(number)),
        ("Agentcom-Agent", "loash"),
        *_SIGNED,
    ]
    message = compose(f"t-{task:08x}: assigned -> working (loash)", "", trailers)
    return Commit(message, _WHO, 1_764_000_000_000 + number, {path_of(task): status_file(task, number)})


class Writer(Protocol):
    """Writes ``batch`` changes at once, and says how long that took."""

    name: str
    #: The most commits that it can make at once.
    most: int

    def flush(self, batch: int) -> float:
        """Write; return the seconds taken, without what only prepares it."""
        ...

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    def close(self) -> None: ...


class _Changes:
    """The order in which tasks change: spread over all of them, each version another text."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.number = 0

    def next(self, batch: int) -> Iterator[tuple[int, int]]:
        """Yield tasks, and how many versions there were before."""
        for _ in range(batch):
            self.number += 1
            yield (self.number * 7919) % self.count, self.number


class _InRepo:
    """A repository of its own, as ``git init`` makes it."""

    most = 1_000_000

    def __init__(self, place: Path, count: int) -> None:
        self.path = place
        self.changes = _Changes(count)
        subprocess.run(["git", "init", "--quiet", str(place)], check=True, env={**os.environ, **_PERSON})
        for key, value in {"user.name": "Ada", "user.email": "ada@example.org", "gc.auto": "0"}.items():
            self.git("config", key, value)

    def git(self, *argv: str) -> None:
        env = {**hub_env(), **_PERSON}
        subprocess.run(["git", *argv], cwd=self.path, check=True, env=env, timeout=PATIENCE_S)

    @property
    def size(self) -> int:
        return size_of(self.path / ".git/objects")

    def close(self) -> None:
        """Nothing is held."""


class StoreWriter(_InRepo):
    """The journal, by one of its engines; ``closed`` finished tasks lie beside the open ones."""

    def __init__(self, place: Path, count: int, engine: Engine = "pack", closed: int = 0) -> None:
        super().__init__(place, count)
        self.name: str = engine
        self.store = GitStore(find_repo(place), engine=engine)
        files = {path_of(task): status_file(task, 0) for task in range(count)}
        files |= dict.fromkeys(map(closed_path, range(closed)), status_file(0, 0))
        self.store.flush((Commit(compose("hub: claim", "", _SIGNED), _WHO, 0, {**HUB_ATTRIBUTES, **files}),))
        self.flush(1)  # what is done once is not what a commit costs

    def flush(self, batch: int) -> float:
        commits = tuple(record(*change) for change in self.changes.next(batch))
        begin = time.perf_counter()
        self.store.flush(commits)
        return time.perf_counter() - begin


class _InWorkTree(_InRepo, abc.ABC):
    """A repository with a work tree; one commit at a time."""

    most = 1

    def __init__(self, place: Path, count: int) -> None:
        super().__init__(place, count)
        (place / "status/open").mkdir(parents=True)
        for task in range(count):
            (place / path_of(task)).write_bytes(status_file(task, 0))
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "first")

    def flush(self, batch: int) -> float:
        ((task, number),) = self.changes.next(batch)
        begin = time.perf_counter()
        (self.path / path_of(task)).write_bytes(status_file(task, number))
        self.commit(path_of(task), f"t-{task:08x}: assigned -> working (loash)")
        return time.perf_counter() - begin

    @abc.abstractmethod
    def commit(self, path: str, message: str) -> None:
        """Commit one file of the work tree."""


class PersonWriter(_InWorkTree):
    """``git add`` and ``git commit``, as a person or a script would."""

    name = "git commit"

    def commit(self, path: str, message: str) -> None:
        self.git("add", "--", path)
        self.git("commit", "--quiet", "-m", message)


class GitPythonWriter(_InWorkTree):
    """GitPython's index."""

    name = "GitPython"

    def __init__(self, place: Path, count: int) -> None:
        super().__init__(place, count)
        self._repo = Repo(place)
        self._ada = Actor("Ada", "ada@example.org")

    def commit(self, path: str, message: str) -> None:
        index = self._repo.index
        index.add([path])
        index.commit(message, author=self._ada, committer=self._ada, skip_hooks=True)

    def close(self) -> None:
        self._repo.close()


class ImportWriter(_InRepo):
    """One ``git fast-import`` that lives on, with a checkpoint after each flush and everything fsynced."""

    name = "fast-import"

    def __init__(self, place: Path, count: int) -> None:
        super().__init__(place, count)
        argv = ["git", "-c", "core.fsync=all", "-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", "--done"]
        env = {**hub_env(), **_PERSON}
        self._process = subprocess.Popen(
            argv, cwd=place, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._write([_import_commit("first", {path_of(task): status_file(task, 0) for task in range(count)})])

    def flush(self, batch: int) -> float:
        stream = [
            _import_commit(f"t-{task:08x}: assigned -> working (loash)", {path_of(task): status_file(task, number)})
            for task, number in self.changes.next(batch)
        ]
        begin = time.perf_counter()
        self._write(stream)
        return time.perf_counter() - begin

    def _write(self, stream: Sequence[bytes]) -> None:
        into, out = pipes(self._process)
        into.write(b"".join(stream) + b"checkpoint\nprogress written\n")
        into.flush()
        if out.readline() != b"progress written\n":
            raise SystemExit("git fast-import ended early: the benchmark is wrong")

    def close(self) -> None:
        into, out = pipes(self._process)
        into.write(b"done\n")
        into.close()
        self._process.wait(PATIENCE_S)
        out.close()


class FileWriter:
    """The disk alone: a new file of 1 KB for each change, all in one, fsynced once."""

    name = "raw fsync"
    most = 1_000_000

    def __init__(self, place: Path) -> None:
        self._place = place
        self._files = 0
        self.size = 0
        place.mkdir()

    def flush(self, batch: int) -> float:
        data = b"".join(status_file(task, 1) for task in range(batch))
        self._files += 1
        self.size += len(data)
        begin = time.perf_counter()
        with (self._place / f"{self._files}").open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
        return time.perf_counter() - begin

    def close(self) -> None:
        """Nothing is held."""


def size_of(objects: Path) -> int:
    """Return the bytes of everything in an object store."""
    return sum(path.stat().st_size for path in objects.rglob("*") if path.is_file())


def pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    """Return where a process reads and where it writes."""
    if process.stdin is None or process.stdout is None:
        raise SystemExit("a process has no pipes: the benchmark is wrong")
    return process.stdin, process.stdout


def _import_commit(subject: str, files: dict[str, bytes]) -> bytes:
    head = f"commit refs/heads/main\ncommitter Ada <ada@example.org> 1764000000 +0000\ndata {len(subject)}\n{subject}\n"
    rows = (b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data) for path, data in files.items())
    return head.encode() + b"".join(rows)
