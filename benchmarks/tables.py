"""How figures are shown and written: columns of text, percentiles, and the time that a run may still take."""

import statistics
import time
from collections.abc import Sequence

Cell = str | float | int | None


class Budget:
    """The seconds of a whole run; each part asks what it may take, so that a loaded machine measures less, not longer.

    Nothing is ever measured less than once.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._whole = seconds

    def part(self, share: float) -> float:
        """Return the seconds for a part that should take ``share`` of the whole, less when the run is late."""
        return max(0.0, min(share * self._whole, self._ends - time.monotonic()))


def p50(values: Sequence[float]) -> float:
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]


def show(title: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table: texts to the left, numbers to the right."""
    cells = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in (list(heads), *cells)) for at in range(len(heads))]
    left = [all(isinstance(row[at], str) for row in rows) for at in range(len(heads))]
    print(f"\n{title}")
    for line in (list(heads), *cells):
        placed = (f"{c:<{w}}" if to_left else f"{c:>{w}}" for c, w, to_left in zip(line, widths, left, strict=True))
        print("  " + "  ".join(placed).rstrip())


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case float():
            return f"{cell:,.0f}" if cell >= 1_000 else f"{cell:.3g}" if cell < 10 else f"{cell:.1f}"
        case int():
            return f"{cell:,}"
        case _:
            return cell
