"""Logging of the hub: one line an event, for people on a terminal and as JSON elsewhere, without secrets.

Standard library only. Whatever looks like a token is redacted in the formatter, so that no call site can forget it, and
so is whatever could play with a terminal or pass for a line of its own: people's and agents' words stand in the log.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

_SECRET = re.compile(
    r"ac_[A-Za-z0-9_-]{20,}|(?<=://)[^/\s@]+(?=@)|(?i:(?<=bearer ))\S{12,}"
    r"|(?i:(?<=authorization: )|(?<=x-gitlab-token: ))[^\s,]+(?: [^\s,]+)?"
)


def redact(text: str) -> str:
    """Return ``text`` without tokens, passwords and whatever stands before the host of an address."""
    return _SECRET.sub("[redacted]", text)


def printable(text: str) -> str:
    """Return ``text`` with a blank for everything that is no character to be seen: line breaks, escapes, directions."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


class _Human(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{clock} {level}{printable(record.getMessage())}"
        if record.exc_info:
            text += "".join(f"\n{printable(line)}" for line in self.formatException(record.exc_info).splitlines())
        return redact(text)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return printable(redact(json.dumps(said, ensure_ascii=False)))


def set_up(stream: TextIO = sys.stderr) -> None:
    """Send the log to ``stream``: readable on a terminal, one JSON object a line otherwise."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Human() if stream.isatty() else _Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # no line names its thread, its process or its place in the code, and to find them out costs as much as the line
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    root.setLevel(logging.INFO)
    for noisy in ("websockets", "watchdog", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for anybody in ("uvicorn", "uvicorn.error"):  # warns of every request that is none: strangers could fill the disk
        logging.getLogger(anybody).setLevel(logging.ERROR)
