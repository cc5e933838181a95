"""The launcher between a sidecar and the child that works: it ends the child's whole family, whatever happens above it.

Run as a script, with the standard library only: ``python -I -S launch.py FILE``, FILE holding one JSON object ``{argv,
cwd, stdin, log, streams, log_limit, record, grace}``. It starts argv in a session of its own, with the file ``stdin``
or nothing as its standard input, and keeps its output in a log that never grows beyond twice ``log_limit`` bytes.
``streams``, if given, are two more such logs: one for standard output alone, one for standard error. With ``spare``
what argv has left running when it ended by itself is let live: a command that wakes somebody may have started him.

Its stdin is the lifeline: a byte on it means "TERM the group, KILL all after ``grace`` seconds"; its end means that the
sidecar is dead, and all is killed at once. Its stdout gets one JSON line at the end: ``{code, output_bytes, error}``.
It knows no task.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
#: How long to wait for the last of the family to vanish after SIGKILL, in seconds.
_REAP_S = 5.0


def start_time(pid: int) -> str | None:
    """Return the start time of a living process in kernel ticks as text, None when there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def descendants(root: int) -> list[int]:
    """Return every process below ``root``, as /proc shows them now; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


class _Log:
    """Output on disk, rotated once: at most twice the limit."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._file = path.open("wb", buffering=0)
        self._size = 0
        self.total = 0

    def write(self, data: bytes) -> None:
        self.total += len(data)
        # A full disk must not stop the work: the output is lost, the result is not.
        with contextlib.suppress(OSError):
            if self._size + len(data) > self._limit and self._size:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._path.open("wb", buffering=0)
                self._size = 0
            self._file.write(data)
            self._size += len(data)


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with(parent: int) -> None:
    """In the child before exec: be killed when the launcher dies, also when it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(127)


def _kill_family(group: int) -> None:
    """Kill the group and, on Linux, everything below this process, however it was detached; then reap it."""
    deadline = time.monotonic() + _REAP_S
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)


class _Stream:
    """One end of a pipe that the child writes into, and the logs that get what it writes."""

    def __init__(self, pipe: int, logs: tuple[_Log, ...]) -> None:
        self.pipe = pipe
        self._logs = logs

    def write(self, data: bytes) -> None:
        for log in self._logs:
            log.write(data)


def _drain(stream: _Stream) -> None:
    """Read what the dead have left in the pipe; somebody who escaped may hold it open, so never wait for its end."""
    os.set_blocking(stream.pipe, False)
    with contextlib.suppress(BlockingIOError):
        while data := os.read(stream.pipe, 65536):
            stream.write(data)


def _watch(child: "subprocess.Popen[bytes]", streams: "list[_Stream]", grace: float) -> None:
    """Wait until the child is gone, by itself or because the lifeline said so."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    kill_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for descriptor in (0, wake_read):
            selector.register(descriptor, selectors.EVENT_READ)
        for stream in streams:
            selector.register(stream.pipe, selectors.EVENT_READ, stream)
        while child.poll() is None:
            timeout = None if kill_at is None else max(0.0, kill_at - time.monotonic())
            for ready, _ in selector.select(timeout):
                data = os.read(ready.fd, 65536)
                if ready.data is not None:
                    if data:
                        ready.data.write(data)
                    else:
                        selector.unregister(ready.fd)
                elif ready.fd == 0:
                    if not data:
                        return
                    if kill_at is None:
                        kill_at = time.monotonic() + grace
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(child.pid, signal.SIGTERM)
            if kill_at is not None and time.monotonic() >= kill_at:
                return


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Start the child of ``spec``, see it to its end, and return the last line's object."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager signals the whole group at once; the sidecar decides when the child ends. A handler, because
        # an ignored signal would be inherited by the child.
        signal.signal(number, lambda _signal, _frame: None)
    limit = spec["log_limit"]
    try:
        log = _Log(Path(spec["log"]), limit)
        own = [_Log(Path(path), limit) for path in spec.get("streams") or ()]
    except OSError as error:
        return {"code": None, "output_bytes": 0, "error": f"{error.filename}: {error.strerror}"}
    me = os.getpid()
    pipes = [os.pipe() for _ in range(2 if own else 1)]
    streams = [_Stream(read, (log, *own[number : number + 1])) for number, (read, _) in enumerate(pipes)]
    try:
        with Path(spec.get("stdin") or os.devnull).open("rb") as given:
            child = subprocess.Popen(
                spec["argv"],
                cwd=spec["cwd"],
                stdin=given,
                stdout=pipes[0][1],
                stderr=pipes[-1][1],
                start_new_session=True,
                preexec_fn=(lambda: _die_with(me)) if _LINUX else None,
            )
    except OSError as error:
        return {"code": None, "output_bytes": 0, "error": f"{error.filename or spec['argv'][0]}: {error.strerror}"}
    for _, write in pipes:
        os.close(write)
    record = {"launcher": me, "launcher_start": start_time(me), "group": child.pid, "start": start_time(child.pid)}
    # A full disk must not leave the child without its watcher.
    with contextlib.suppress(OSError):
        Path(spec["record"]).write_text(json.dumps(record), encoding="utf-8")
    _watch(child, streams, spec["grace"])
    code = child.poll()
    if code is None or not spec.get("spare"):
        _kill_family(child.pid)
    for stream in streams:
        _drain(stream)
    return {"code": -signal.SIGKILL if code is None else code, "output_bytes": log.total, "error": ""}


if __name__ == "__main__":
    answer = run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(answer).encode() + b"\n")
