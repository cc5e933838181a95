"""What commands print on a terminal: tables that fit its width, words in colours, a sign that something goes on.

The one module that knows ``rich``; it is imported only where somebody looks (``coordinator.terminal``). Texts are
shown as they are: no markup, no emoji by name, no links are read out of them. A colour only repeats what a word says.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from coordinator.terminal import has_colours
from dashboard.words import BADGES

#: Tone of a word (``dashboard.words``) -> how it looks on a terminal of any background.
_STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "ask": "magenta", "busy": "cyan", "idle": ""}
#: Words of commands that no page has.
_WORDS = {"ok": "green", "warn": "yellow", "bad": "bold red", "fixed": "green"}
#: Columns whose words say how something stands.
_TELLING = frozenset({"state", "status", "priority", "level"})
#: A column whose widest cell is no wider keeps its lines whole; others are wrapped between words.
_SHORT = 24
#: A wrapped column is not made narrower than this.
_NARROWEST = 12
_GAP = 2
#: A longer word of a sentence may be broken.
_LONGEST = 20


def show_table(rows: Sequence[Sequence[str]], indent: str, heads: Sequence[str], *, whole: bool) -> None:
    """Print rows, already free of control characters, as a table; where it does not fit, one below the other.

    The first column is never wrapped. With ``whole`` no word is broken, because people copy it, otherwise a long one
    inside a sentence may be; where a line has no room for a word, the terminal breaks it. ``heads`` may be empty.
    """
    console = _console(sys.stdout)
    kept = _not_empty(rows)
    rows = [[row[number] for number in kept] for row in rows]
    heads = [heads[number] for number in kept] if heads else ()
    room = console.width - len(indent)
    columns = enumerate(zip(*rows, strict=True))
    least = [_least(column, first=not number, whole=whole) for number, column in columns]
    if heads:
        least = [max(width, cell_len(head)) for width, head in zip(least, heads, strict=True)]
    if sum(least) + _GAP * (len(least) - 1) <= room:
        _side_by_side(console, rows, indent, heads, least)
    else:
        for row in rows:
            _stacked(console, row, indent, heads, whole=whole)


def tone(text: str, word: str, stream: IO[str]) -> str:
    """Return a text in the colour of a word, for one line on ``stream``, as it is where there are no colours."""
    style = _style(word)
    if not style or not has_colours(stream):
        return text
    with (console := _console(stream)).capture() as shown:
        console.print(Text(text, style), end="", soft_wrap=True)
    return shown.get()


def cut(text: str, width: int) -> str:
    """Return as much of a text as fits, with a sign where something is left out."""
    line = Text(text)
    line.truncate(max(width, 1), overflow="ellipsis")
    return line.plain


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show on standard error that something goes on, until it is over; nothing of it stays."""
    console = _console(sys.stderr)
    sign = Spinner("line", Text(cut(text, console.width - _GAP - 1)))  # a broken line could not be taken away again
    with Live(sign, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        yield


def _console(stream: IO[str]) -> Console:
    colours: Any = "auto" if has_colours(stream) else None
    return Console(
        file=stream,
        force_terminal=True,
        color_system=colours,
        no_color=colours is None,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _not_empty(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns in which anything stands."""
    kept = [number for number in range(len(rows[0])) if any(row[number] for row in rows)]
    return kept or [0]


def _least(cells: Sequence[str], *, first: bool, whole: bool) -> int:
    """Return the width that a column needs: all of it when it is short or the first, else its longest word.

    Of a column of sentences a long word may be broken, unless ``whole``; of one of single words never.
    """
    widest = max(map(cell_len, cells))
    if first or widest <= _SHORT:
        return widest
    whole = whole or all(" " not in cell for cell in cells)
    longest = max((len(word) for cell in cells for word in cell.split() if _is_narrow(word)), default=0)
    return max(_NARROWEST, longest if whole else min(longest, _LONGEST))


def _is_narrow(word: str) -> bool:
    """Tell whether a word has no wide characters, between which a line may be broken anywhere."""
    return cell_len(word) == len(word)


def _side_by_side(
    console: Console, rows: Sequence[Sequence[str]], indent: str, heads: Sequence[str], least: Sequence[int]
) -> None:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=bool(heads), header_style="")
    for number, width in enumerate(least):
        short = number == 0 or max(cell_len(row[number]) for row in rows) <= _SHORT
        head = Text.assemble((heads[number], "bold")) if heads else ""
        table.add_column(head, min_width=width, no_wrap=short, overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, heads))
    with console.capture() as shown:
        console.print(table, width=console.width - len(indent))
    console.file.write("".join(f"{indent}{line.rstrip()}\n" for line in shown.get().splitlines()))


def _stacked(console: Console, row: Sequence[str], indent: str, heads: Sequence[str], *, whole: bool) -> None:
    """Print one row as its short cells in a line, or several, and the others below, further in."""
    further = " " * _GAP
    room = max(console.width - len(indent) - _GAP, _NARROWEST)
    lines: list[Text] = []
    open_line = False  # whether a short cell may follow in the last line
    for number, cell in enumerate(_cells(row, heads)):
        if number and not cell.plain:
            continue
        if number and cell.cell_len > min(_SHORT, room):
            lines += [Text(further + part) for part in _wrapped(cell.plain, room, whole=whole)]
            open_line = False
        elif open_line and len(indent) + lines[-1].cell_len + _GAP + cell.cell_len <= console.width:
            lines[-1] = lines[-1] + Text(further) + cell
        else:
            lines.append(Text(further) + cell if number else cell)
            open_line = True
    for line in lines:
        console.print(Text(indent) + line, soft_wrap=True)


def _wrapped(text: str, width: int, *, whole: bool) -> Iterator[str]:
    """Yield a text in lines, broken between words, and inside of those that are too long, unless they stay whole."""
    whole = whole or " " not in text
    line = ""
    for word in text.split():
        if line and cell_len(line) + 1 + cell_len(word) <= width:
            line = f"{line} {word}"
            continue
        if line:
            yield line
        *full, line = [word] if whole and _is_narrow(word) else chop_cells(word, width)
        yield from full
    if line:
        yield line


def _cells(row: Sequence[str], heads: Sequence[str]) -> list[Text]:
    telling = [bool(heads) and heads[number] in _TELLING for number in range(len(row))]
    # a style of the whole text would be one of the blanks behind it as well
    return [Text.assemble((cell, _style(cell) if tells else "")) for cell, tells in zip(row, telling, strict=True)]


def _style(word: str) -> str:
    if word in _WORDS:
        return _WORDS[word]
    badge = BADGES.get(word)
    return "" if badge is None else _STYLES[badge.tone]
