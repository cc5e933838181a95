"""JSON that every reader takes: text that is Unicode, numbers that JSON has, not nested without end.

Agents write what they like; languages differ in what they let through. Both ends of the wire send everything that an
agent said through here, so that no word can be written by the one and refused by the other.
"""

import json
import math
import re
from typing import Any

#: Deeper lists and objects are replaced by ``TOO_DEEP``; JSON readers give up at 128 (serde), 200 (pydantic), 1,000.
MAX_DEPTH = 64
TOO_DEEP = "(nested too deep)"
#: Tokens of AgentCom: ``ac_`` and 43 characters.
_TOKEN = re.compile(r"(?<![\w-])ac_[\w-]{43}(?![\w-])", re.ASCII)
HIDDEN = "[token]"
#: Integers beyond 64 bits become text: most readers would make something else of them.
_MOST = 2**63


def read(text: str | bytes) -> Any:
    """Return what a JSON text says, made plain. Raises ValueError when it is no JSON that can be read."""
    try:
        return plain(json.loads(text))
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_flat(text: str | bytes) -> Any:
    """Return what a JSON text says, made plain. Raises ValueError also when it is nested deeper than ``MAX_DEPTH``."""
    try:
        said = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _deeper(said, MAX_DEPTH):
        raise ValueError("nested too deep")
    return plain(said)


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value without lone surrogates, NaN, infinities and huge integers, at most ``depth`` levels deep."""
    match value:
        case str():
            return plain_text(value)
        case float():
            return value if math.isfinite(value) else None
        case bool():
            return value
        case int():
            return value if -_MOST <= value < _MOST else str(value)
        case dict() if depth > 0:
            return {plain_text(str(key)): plain(one, depth - 1) for key, one in value.items()}
        case list() | tuple() if depth > 0:
            return [plain(one, depth - 1) for one in value]
        case dict() | list() | tuple():
            return TOO_DEEP
        case _:
            return value


def plain_text(text: str) -> str:
    """Return ``text`` with each lone surrogate replaced, so that it can be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_tokens(value: Any) -> Any:
    """Return a plain value in which no text holds a token of AgentCom: what agents say of tasks stays for ever."""
    match value:
        case str():
            return _TOKEN.sub(HIDDEN, value) if "ac_" in value else value
        case dict():
            return {without_tokens(key): without_tokens(one) for key, one in value.items()}
        case list():
            return [without_tokens(one) for one in value]
        case _:
            return value
