"""How a sidecar logs: one line per change of state on stderr, for people on a terminal, as JSON elsewhere.

The token never appears, in whatever text it stands.
"""

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path

_FILE_BYTES = 5 * 1024 * 1024
_FILES = 3
_NOISY = ("websockets", "asyncio", "filelock")


class _Formatter(logging.Formatter):
    def __init__(self, secrets: tuple[str, ...], as_json: bool) -> None:
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)
        self._json = as_json

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        for secret in self._secrets:
            text = text.replace(secret, "[token]")
        moment = datetime.fromtimestamp(record.created, UTC)
        task_id = getattr(record, "task_id", None)
        if not self._json:
            mark = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
            return f"{moment.astimezone():%H:%M:%S} {mark}{_seen(text)}"
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "text": text,
        }
        return _seen(json.dumps(line | ({"task_id": task_id} if task_id else {}), ensure_ascii=False))


def _seen(text: str) -> str:
    """Return ``text`` with blanks for what could play with a terminal: words of tasks stand in the log."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def configure(secrets: tuple[str, ...], log_file: Path | None) -> None:
    """Send all logging to stderr, and to ``log_file`` as JSON lines when given. Raises OSError for that file."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Formatter(secrets, as_json=not sys.stderr.isatty()))
    root.handlers[:] = [stream]
    if log_file is not None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        file = logging.handlers.RotatingFileHandler(
            log_file, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8"
        )
        file.setFormatter(_Formatter(secrets, as_json=True))
        root.addHandler(file)
