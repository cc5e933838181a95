"""Whether somebody looks at what a program prints, and in colours. It knows no program and no text.

A pipe, a file and ``TERM=dumb`` get plain lines that programs may read; ``NO_COLOR``, not empty, takes colours away.
"""

import os
from collections.abc import Mapping
from typing import Protocol


class Stream(Protocol):
    """Something that is printed to."""

    def isatty(self) -> bool: ...


def is_screen(stream: Stream, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a stream is a terminal that can do more than lines."""
    return environ.get("TERM") != "dumb" and stream.isatty()


def has_colours(stream: Stream, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether what is printed to a stream may be coloured."""
    return not environ.get("NO_COLOR") and is_screen(stream, environ)
