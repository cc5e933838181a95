"""The text of a commit on the state branch, and the names on it.

This module decides how free text is made harmless inside a commit: a subject stays one line, a body can never be read
as trailers, trailers always can. It knows no task and no event, and it runs no git.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

#: Longest subject, in characters.
MAX_SUBJECT = 200
#: Longest trailer value, in characters.
MAX_TRAILER = 1000
#: Longest name of an author, in characters.
MAX_NAME = 200

#: Who commits on the state branch.
HUB_NAME = "AgentCom hub"
HUB_EMAIL = "hub@agentcom.invalid"

#: What a commit of a hub always carries, and what names the source commit last observed.
EPOCH = "Agentcom-Epoch"
SOURCE = "Agentcom-Source"
#: The folder that the hub's folders lie in, on every commit of a hub whose folder is not the top.
ROOT = "Agentcom-Root"

_TRAILER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*): ?(.*)")
#: Characters that turn the direction of the text around them.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_LINE_BREAKS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_EMAIL_FORBIDDEN = re.compile(r"[\s<>]")


def compose(subject: str, body: str = "", trailers: Sequence[tuple[str, str]] = (), skip_ci: bool = False) -> str:
    """Return one commit message: subject, quoted body, ``[skip ci]``, trailers, each in a paragraph of its own.

    Every line of ``body`` is prefixed ``> ``, so that nothing in it can pass for a trailer or for the ``---`` that ends
    a message. Control characters and line breaks in subject and trailer values become spaces. Raises ValueError for a
    trailer key that git would not read back (DECISIONS, git rules).
    """
    paragraphs = [one_line(subject)[:MAX_SUBJECT].rstrip() or "(no subject)"]
    if body.strip():
        lines = (_drop_controls(line).rstrip() for line in _LINE_BREAKS.split(body.strip("\r\n")))
        paragraphs.append("\n".join(f"> {line}".rstrip() for line in lines))
    if skip_ci:
        paragraphs.append("[skip ci]")
    if trailers:
        paragraphs.append("\n".join(_trailer(key, value) for key, value in trailers))
    return "\n\n".join(paragraphs) + "\n"


def parse_trailers(message: str) -> dict[str, tuple[str, ...]]:
    """Return the trailers of a message as values by key, in order; keys are spelled as in their first use.

    Only a last paragraph that consists of trailers alone counts, and the subject never does: what ``compose`` wrote is
    read back whole, and half a trailer block is none.
    """
    paragraphs = re.split(r"\n[ \t]*\n", message.strip("\n"))
    if len(paragraphs) < 2:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for line in paragraphs[-1].splitlines():
        match = _TRAILER.fullmatch(line)
        if match is None:
            return {}
        key, value = match[1], match[2].strip()
        key = next((known for known in found if known.lower() == key.lower()), key)
        found[key] = (*found.get(key, ()), value)
    return found


def trailer(message: str, key: str) -> str | None:
    """Return the last value of one trailer, None when the message has none."""
    values = parse_trailers(message).get(key)
    return values[-1] if values else None


def check_message(message: str, source: str | None) -> None:
    """Raise ValueError for a message that would not be read back as what it is.

    Every commit of a hub carries ``Agentcom-Epoch``, else it would count as a person's slip; one that observes
    ``source`` names it in ``Agentcom-Source``, which is where the fold finds it again.
    """
    trailers = parse_trailers(message)
    if EPOCH not in trailers:
        raise ValueError(f"a commit of the hub needs the trailer {EPOCH}: {message.splitlines()[:1]}")
    if source is not None and trailers.get(SOURCE, ("",))[-1] != source:
        raise ValueError(f"a commit that observes {source} needs the trailer {SOURCE} with that id")


def one_line(text: str) -> str:
    """Return ``text`` with line breaks and control characters as single spaces, trimmed."""
    return " ".join(_drop_controls(text).split())


@lru_cache(1024)
def clean_name(name: str, fallback: str) -> str:
    """Return a name that may stand in a commit: no control characters, ``<`` or ``>``, at most 200 characters.

    ``fallback`` (cleaned likewise) is used when nothing is left.
    """
    for candidate in (name, fallback, "unknown"):
        cleaned = one_line(candidate.replace("<", "").replace(">", ""))[:MAX_NAME].strip()
        if cleaned:
            return cleaned
    raise AssertionError("unreachable: the last candidate is never empty")


@lru_cache(1024)
def clean_email(email: str) -> str:
    """Return an address that may stand in a commit; empty becomes ``unknown@agentcom.invalid``."""
    return _EMAIL_FORBIDDEN.sub("", _drop_controls(email))[:MAX_NAME] or "unknown@agentcom.invalid"


@lru_cache(1024)
def _trailer(key: str, value: str) -> str:
    if _TRAILER.fullmatch(f"{key}: ") is None:
        raise ValueError(f"{key!r} is no trailer key: letters, digits and '-' only")
    return f"{key}: {one_line(value)[:MAX_TRAILER]}".rstrip()


def _drop_controls(text: str) -> str:
    """Turn what a terminal or a parser could act on into spaces; tabs too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in _BIDI else c for c in text)
