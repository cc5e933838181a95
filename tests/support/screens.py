"""A terminal of a certain width, before which a program is run: what it printed, and what a person sees of it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

from support.repo import git_env

AGENTCOM = (sys.executable, "-m", "coordinator")
#: Colours and weights: all that a table may contain besides text.
_LOOKS = re.compile(r"\x1b\[[0-9;]*m")
#: Taking a line away again, hiding the cursor: what a sign of progress may contain besides.
_MOVES = re.compile(r"\x1b\[(?:\?25[lh]|2?K|1A)")


@dataclass(frozen=True)
class Screen:
    """What a program printed on a terminal, and its exit code."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """What was printed, without colours."""
        return _LOOKS.sub("", self.raw)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def widest(self) -> int:
        return max(map(cell_len, self.lines))

    @property
    def left(self) -> list[str]:
        """The lines that are still there at the end, once signs of progress were taken away."""
        kept: list[str] = [""]
        at_start = False
        for piece in re.split(r"(\x1b\[2?K|\x1b\[1A|\r|\n)", re.sub(r"\x1b\[\?25[lh]", "", self.text)):
            if piece == "\n":
                kept.append("")
            elif piece == "\x1b[1A":
                kept.pop()
            elif piece == "\x1b[2K" or (piece == "\x1b[K" and at_start):
                kept[-1] = ""
            elif piece not in ("\r", "\x1b[K", ""):
                kept[-1] = piece if at_start else kept[-1] + piece
            at_start = piece == "\r" or (at_start and not piece)
        return [line for line in kept if line]

    @staticmethod
    def pieces(line: str) -> list[str]:
        """Return what was written into one line, one text over the other."""
        return re.split(r"\x1b\[2?K|\r", line)

    def strange(self) -> list[str]:
        """Return every control sequence that is neither a look nor a sign of progress."""
        rest = _MOVES.sub("", self.text)
        return re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069].{0,10}", rest)


def on_screen(
    argv: Sequence[str], columns: int = 80, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Screen:
    """Run a program to its end on a terminal of its own with so many columns."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        full = {**git_env(), "TERM": "xterm-256color", **(env or {})}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
            if env is None or name not in env:
                full.pop(name, None)
        program = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=full)
    finally:
        os.close(theirs)
    try:
        said = b"".join(iter(lambda: _read(ours), b""))
    finally:
        os.close(ours)
    return Screen(program.wait(), said.decode("utf-8").replace("\r\n", "\n"))


def through_pipe(argv: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program whose output a program reads; return that output, errors too."""
    full = {**git_env(), "TERM": "xterm-256color", **(env or {})}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=full, check=False)
    return done.stdout.decode("utf-8")


def _read(end: int) -> bytes:
    try:
        return os.read(end, 65536)
    except OSError:  # the other end is closed: Linux says so by an error
        return b""
