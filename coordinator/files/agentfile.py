"""A person's ``agents/<id>.yaml`` as commands write it; it holds hashes of tokens, never a token.

Whatever is written is read again by the reader of the hub, and must say what was meant.

    WrongFile                   the file, before or after, is not one that the hub would read (``taskfile``)
"""

from collections.abc import Sequence
from typing import Any

from coordinator.core.agent import AgentSpec, Token
from coordinator.core.timers import rfc3339
from coordinator.core.values import evolve
from coordinator.files import loader
from coordinator.files.emitter import quoted
from coordinator.files.rewrite import CannotChange, Plain, change, node
from coordinator.files.taskfile import WrongFile

#: How much of a token may stand beside its hash, so that people can tell which one it is.
PREFIX_CHARS = 8
#: Of a shorter token nothing is shown: the rest could be guessed.
_LONG_ENOUGH = 32


def prefix_of(token: str) -> str:
    """Return as much of a token as may be shown, nothing of a short one."""
    return token[:PREFIX_CHARS] if len(token) >= _LONG_ENOUGH else ""


def new_agent(name: str, capabilities: Sequence[str], token: Token, *, schema_beside: bool) -> bytes:
    """Return the file of a new agent; ``schema_beside``: the schema for editors lies in the same folder."""
    lines = ["# yaml-language-server: $schema=agent.schema.json"] if schema_beside else []
    lines.append(f"name: {quoted(name)}")
    if capabilities:
        lines.append(f"capabilities: [{', '.join(quoted(word) for word in capabilities)}]")
    lines += ["role: agent", "tokens:", f"  - sha256: {token.sha256}"]
    if token.prefix:
        lines.append(f"    prefix: {quoted(token.prefix)}")
    return ("\n".join(lines) + "\n").encode()


def check(path: str, data: bytes, *, reserved: tuple[str, ...] = ()) -> AgentSpec:
    """Return a file as the hub reads it. Raises WrongFile."""
    spec = loader.load_agent(path, data, "", reserved=reserved)
    if isinstance(spec, tuple):
        raise WrongFile(spec)
    return spec


def switched(path: str, data: bytes, *, disabled: bool) -> bytes:
    """Return a file that says whether its agent is disabled; one that says so is not touched.

    Raises WrongFile, CannotChange.
    """
    before = check(path, data)
    if before.disabled is disabled:
        return data
    after = change(data, {"disabled": disabled})
    if check(path, after) != evolve(before, disabled=disabled):
        raise CannotChange("disabled would not be read as meant: edit the file by hand")
    return after


def rotated(path: str, data: bytes, token: Token, until_ms: int, now_ms: int) -> bytes:
    """Return a file with one more token, in which those before end at ``until_ms``, if not sooner; ended ones go.

    A file that has the token already is not touched. Raises WrongFile, CannotChange.
    """
    before = check(path, data)
    if any(one.sha256 == token.sha256 for one in before.tokens):
        return data
    # whole seconds: that is how a file writes them
    until_ms -= until_ms % 1000
    kept = tuple(
        evolve(one, not_after=min(one.not_after or until_ms, until_ms)) for one in before.tokens if one.lives(now_ms)
    )
    ends = {one.sha256: one.not_after for one in kept}

    def longer(there: Any) -> Any:
        parts = node([]) if there is None else there
        for number in reversed(range(len(parts))):
            end = ends.get(str(parts[number]["sha256"]).lower())
            if end is None:
                del parts[number]
            else:
                parts[number]["not_after"] = node(Plain(rfc3339(end)))
        parts.append(node({"sha256": token.sha256, **({"prefix": token.prefix} if token.prefix else {})}))
        return parts

    after = change(data, {"tokens": longer})
    if check(path, after) != evolve(before, tokens=(*kept, token)):
        raise CannotChange("tokens would not be read as meant: edit the file by hand")
    return after
