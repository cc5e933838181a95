"""What the commands share: how they fail, print and find the repository."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from coordinator.terminal import has_colours, is_screen

if TYPE_CHECKING:
    from coordinator.git.person import CannotCommit

#: What JSON lets stand as it is and a terminal could act on: C1 controls, line ends and directions of Unicode.
_STEERS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: Version of every JSON object that a command prints.
SCHEMA_VERSION = 1
#: What stands above commits of the trail.
LOG = ("time", "commit", "what")
EXIT_FAILED = 1
EXIT_WOULD_CHANGE = 2
EXIT_USAGE = 64
EXIT_FILES_WRONG = 65
EXIT_NO_REPOSITORY = 66
EXIT_NO_HUB = 69
EXIT_PORT_IN_USE = 73
EXIT_LOCKED = 75
EXIT_REFUSED = 77
EXIT_CONFIG = 78


class Failure(click.ClickException):
    """One clear line on stderr and a distinct exit code."""

    def __init__(self, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.code = exit_code

    def show(self, file: Any = None) -> None:
        click.echo(f"agentcom: {one_line(self.message)}", err=True)


def fail(text: str, exit_code: int = EXIT_FAILED) -> NoReturn:
    """End the command with one line and an exit code of DECISIONS 17."""
    raise Failure(text, exit_code)


def refuse(error: "CannotCommit") -> NoReturn:
    """End the command because a person's commit could not be made."""
    from coordinator.git.person import NoIdentity

    fail(str(error), EXIT_CONFIG if isinstance(error, NoIdentity) else EXIT_FAILED)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object with its schema version first."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **value}, ensure_ascii=False, indent=2)
    click.echo(_STEERS.sub(lambda found: json.dumps(found[0])[1:-1], text))


def one_line(text: str) -> str:
    """Return a text of several lines as one, which cannot play with the terminal."""
    return "; ".join(_clean(line.strip()) for line in text.splitlines() if line.strip())


def local_time(ms: int) -> str:
    """Return a wall time (ms since the epoch) as people's clocks here show it."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_table(
    rows: Iterable[Sequence[str]], indent: str = "", heads: Sequence[str] = (), *, whole: bool = False
) -> None:
    """Print rows as columns, nothing when there are none.

    On a terminal they fit its width and have ``heads``; with ``whole`` no word is broken for that, because people copy
    it. Elsewhere they are lines as ``table`` makes them, without heads.
    """
    cells = [[_clean(cell) for cell in row] for row in rows]
    if not cells:
        return
    if not is_screen(sys.stdout):
        click.echo(table(cells, indent))
        return
    from coordinator.cli.screen import show_table

    show_table(cells, indent, heads, whole=whole)


def toned(text: str, word: str, *, err: bool = False) -> str:
    """Return a text that is to be printed in the colour of a word, such as ``failed``, where there are colours."""
    stream = sys.stderr if err else sys.stdout
    if not has_colours(stream):
        return text
    from coordinator.cli.screen import tone

    return tone(text, word, stream)


def busy(text: str, *, quietly: bool = False) -> AbstractContextManager[None]:
    """Show while something goes on, on a terminal, that it does; elsewhere, and ``quietly``, nothing."""
    if quietly or not is_screen(sys.stderr):
        return nullcontext()
    from coordinator.cli import screen

    return screen.busy(one_line(text))


def table(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Return rows as aligned columns; the last column is as long as it likes."""
    lines = [[_clean(cell) for cell in row] for row in rows]
    if not lines:
        return ""
    widths = [max(len(row[number]) for row in lines) for number in range(len(lines[0]) - 1)]
    return "\n".join(
        (indent + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])).rstrip()
        for row in lines
    )


def _clean(text: str) -> str:
    """Return text that cannot play with the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def directory_option(function: Any) -> Any:
    """Add ``--repo DIR`` (default: the current directory)."""
    return click.option(
        "--repo",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(),
        metavar="DIR",
        help="A directory inside the repository (default: the current one).",
    )(function)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
