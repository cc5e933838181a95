"""A ``systemctl --user`` in small, for machines on which systemd does not run: it starts and stops what a unit says.

Run as a program; ``put_on_path`` makes it one. Every call is noted in ``calls``. ``restart`` returns once the service
has said READY, as systemd does for ``Type=notify``.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SOON = 30.0


def put_on_path(folder: Path) -> Path:
    """Make a program ``systemctl`` in ``folder``; return the file in which its calls are noted."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__)}" "$0" "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder / "calls"


def calls(noted: Path) -> list[list[str]]:
    return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []


def _setting(unit: Path, key: str) -> list[str]:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2].replace("%%", "%") for line in lines if line.startswith(f"{key}=")]


def _start(unit: Path, pid_file: Path) -> int:
    (command,) = _setting(unit, "ExecStart")
    (folder,) = _setting(unit, "WorkingDirectory")
    told = dict(word.partition("=")[::2] for line in _setting(unit, "Environment") for word in shlex.split(line))
    name = f"agentcom-test-{os.getpid()}"  # without a file: the path of a test's folder may be too long for a socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + name)
        ear.settimeout(0.05)
        env = {"HOME": os.environ["HOME"], **told, "NOTIFY_SOCKET": f"@{name}"}
        env |= {key: value for key, value in os.environ.items() if key.startswith("GIT_CONFIG")}
        with pid_file.with_suffix(".log").open("ab") as log:
            process = subprocess.Popen(
                [word.replace("$$", "$") for word in shlex.split(command)],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        pid_file.write_text(str(process.pid))
        end = time.monotonic() + SOON
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                if ear.recv(4096).startswith(b"READY=1"):
                    return 0
    print("Job failed because the control process exited with error code.", file=sys.stderr)
    return 1


def alive(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else pid


@contextlib.contextmanager
def services_in(folder: Path) -> Iterator[Path]:
    """Make the program in ``folder``; give the file of its calls, and end at last whatever it has started."""
    noted = put_on_path(folder)
    try:
        yield noted
    finally:
        stop_all(folder)


def stop_all(folder: Path) -> None:
    """End every service that the program in ``folder`` has started."""
    for pid_file in folder.glob("*.pid"):
        _stop(pid_file)


def _stop(pid_file: Path) -> None:
    pid = alive(pid_file)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + SOON
        while alive(pid_file) is not None and time.monotonic() < end:
            time.sleep(0.02)
    pid_file.unlink(missing_ok=True)


def main(program: str, *argv: str) -> int:
    folder = Path(program).parent
    with (folder / "calls").open("a") as noted:
        noted.write(json.dumps(argv) + "\n")
    words = [word for word in argv if not word.startswith("-")]
    if words[0] in ("daemon-reload", "show-environment"):
        return 0
    unit = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd/user" / words[1]
    pid_file = folder / f"{words[1]}.pid"
    if words[0] == "is-active":
        return 3 if alive(pid_file) is None else 0
    if not unit.exists():
        print(f"Failed to {words[0]} unit: Unit file {words[1]} does not exist.", file=sys.stderr)
        return 1
    if words[0] == "restart":
        _stop(pid_file)
        return _start(unit, pid_file)
    if words[0] == "disable":
        _stop(pid_file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
