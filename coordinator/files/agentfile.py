"""A person's ``agents/<id>.yaml`` as commands write it; it holds hashes of tokens, never a token."""

from collections.abc import Sequence

from coordinator.core.agent import Token
from coordinator.files.emitter import quoted

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
