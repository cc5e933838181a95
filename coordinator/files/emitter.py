"""Values of the core -> the text of the hub's own files: fixed fields in a fixed order, so that a diff reads well.

A specification may also be written as a person's file. What is written here the loader reads back equal
(tests/files/test_emitter.py). Fields that are None or empty are left out. Numbers that JSON does not have (nan, inf)
are written as null, lone surrogates as U+FFFD. This module knows no paths.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.core.agent import AgentRecord, AgentSpec, Token
from coordinator.core.backlog import BacklogMap, MapEntry
from coordinator.core.task import Answer, Attempt, Decision, Origin, Priority, Spec, Status
from coordinator.files import limits
from coordinator.files.convert import plain_number, write_duration, write_time

#: Texts that stay what they are without quotes, for every YAML reader.
_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./+@-]|[,()'] ?| (?=[A-Za-z0-9_(]))*(?<![, ])\Z")
_MEANING = frozenset("null true false yes no on off y n".split())
_ESCAPED = re.compile('["\\\\]|[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}
_UNSAFE_IN_BLOCK = re.compile(
    "[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\n[ \t]+(?:\n|\\Z)|\n\t"
)
#: Keys longer than this are written with ``?``: parsers look for the colon within 1,024 characters only.
_SIMPLE_KEY = 120
_MAX_DIGITS = 4_000
#: Whole numbers of fewer bits are read back as they are.
_SMALL_BITS = 64

#: The hexadecimal digits that no number has, not even as an exponent.
_HEX_LETTERS = frozenset("abcdf")

Lines = list[str]


def algorithm_of(oid: str) -> str:
    """Return which hash an object id of a repository is of: ``sha1`` or ``sha256``."""
    return "sha256" if len(oid) == 64 else "sha1"


def blob_id(data: bytes, algorithm: str = "sha1") -> str:
    """Return the git object id of a blob; ``algorithm`` is the repository's object format (sha1, sha256)."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    digest.update(b"blob %d\0" % len(data))
    digest.update(data)
    return digest.hexdigest()


# --- files ----------------------------------------------------------------------------------------------------------


def emit_status(status: Status, result_file: str = "") -> bytes:
    """Return ``status/.../<id>.yaml``; with ``result_file`` the result stands there and is only named here."""
    out: Lines = []
    _put(out, "status", status.status.value)
    _put(out, "assigned_to", status.assigned_to)
    _put(out, "last_owner", status.last_owner)
    _put(out, "preferred", status.preferred)
    _put(out, "generation", status.generation)
    _time(out, "created_at", status.created_at)
    _put(out, "created_by", status.created_by)
    _time(out, "assigned_at", status.assigned_at)
    _time(out, "started_at", status.started_at)
    _time(out, "completed_at", status.completed_at)
    _put(out, "retry_count", status.retry_count)
    _put(out, "max_retries", status.max_retries)
    _words(out, "excluded", status.excluded)
    _time(out, "not_before", status.not_before)
    _put(out, "reason", status.reason)
    if status.question is not None:
        out.extend(_block("question:", status.question, 2))
    _parts(out, "answers", map(_answer, status.answers))
    _parts(out, "reviews", map(_decision, status.reviews))
    if status.merged is not None:
        _hex(out, "merged", status.merged)
    _flag(out, "orphaned", status.orphaned)
    _flag(out, "held", status.held)
    _flag(out, "deleted", status.deleted)
    _put(out, "rerun", status.rerun)
    _hex(out, "spec", status.spec)
    _parts(out, "attempts", map(_attempt, status.attempts))
    if status.orphans:
        out.append(f"orphans: [{', '.join(map(str, status.orphans))}]")
    if result_file:
        _put(out, "result_file", result_file)
    elif status.result is not None:
        _value(out, "result", status.result, 0)
    return _bytes(out)


def emit_spec(spec: Spec) -> bytes:
    """Return a specification that the hub made (``tasks/backlog/<id>.yaml``, ``tasks/api/<id>.yaml``).

    ``where`` is left out: a line number that moved is no change of what is asked for.
    """
    origin = Origin.API if spec.origin is Origin.FILE else spec.origin
    return _bytes(_spec_lines(spec, origin))


def emit_task(spec: Spec) -> bytes:
    """Return a specification as a person's ``tasks/<id>.yaml``: the same without the keys that only the hub writes."""
    return _bytes(_spec_lines(spec, None))


def _spec_lines(spec: Spec, origin: Origin | None) -> Lines:
    out: Lines = []
    _put(out, "title", spec.title)
    _text(out, "description", spec.description)
    if spec.priority is not Priority.NORMAL:
        _put(out, "priority", spec.priority.word)
    _words(out, "needed_capabilities", spec.needed_capabilities)
    _words(out, "depends_on", spec.depends_on)
    _put(out, "assignee", spec.assignee)
    _put(out, "max_retries", spec.max_retries)
    if spec.timeout_s is not None:
        out.append(f"timeout: {write_duration(spec.timeout_s)}")
    _time(out, "deadline", spec.deadline)
    _time(out, "not_before", spec.not_before)
    if spec.review is not None:
        _put(out, "review", "required" if spec.review else "none")
    _flag(out, "hold", spec.hold)
    _flag(out, "cancel", spec.cancel)
    _flag(out, "done", spec.done and origin is not None)
    if spec.rerun:
        _put(out, "rerun", spec.rerun)
    if spec.answer is not None:
        _value(out, "answer", _answer(spec.answer), 0)
    if spec.decision is not None:
        _value(out, "review_decision", _decision(spec.decision), 0)
    _put(out, "repo", spec.repo)
    _put(out, "base", spec.base)
    _put(out, "kind", spec.kind)
    _words(out, "labels", spec.labels)
    _parts(out, "acceptance", spec.acceptance)
    if spec.metadata:
        _value(out, "metadata", spec.metadata, 0)
    _put(out, "origin", None if origin is None else origin.value)
    for key, value in spec.extra.items():
        _value(out, key, value, 0)
    return out


def emit_record(record: AgentRecord) -> bytes:
    """Return ``status/agents/<id>.yaml``."""
    out: Lines = []
    _time(out, "parked_until", record.parked_until)
    _put(out, "parked_reason", record.parked_reason)
    _flag(out, "draining", record.draining)
    _parts(out, "tokens", map(_token, record.tokens))
    _parts(out, "revoked", record.revoked)
    _hex(out, "accepted", record.accepted)
    _parts(out, "invites", map(_token, record.invites))
    return _bytes(out)


def emit_agent(spec: AgentSpec) -> bytes:
    """Return an agent that the hub made (``agents/api/<id>.yaml``); its tokens stand in its record."""
    out: Lines = []
    _put(out, "name", spec.name)
    _words(out, "capabilities", spec.capabilities)
    _put(out, "role", spec.role.value)
    if spec.disabled:
        _put(out, "disabled", True)
    return _bytes(out)


def emit_mapping(values: Mapping[str, Any]) -> bytes:
    """Return a mapping without a schema (``status/hub.yaml``): JSON values, in the order given."""
    out: Lines = []
    for key, value in values.items():
        _value(out, key, value, 0)
    return _bytes(out)


def emit_backlog_map(known: BacklogMap) -> bytes:
    """Return ``status/backlog.json``: one item a line, so that git shows which one moved."""

    def shown(entry: MapEntry) -> str:
        item: dict[str, Any] = {"id": entry.id, "title": entry.title, "heading": entry.heading}
        item |= {"lane": entry.lane.value, "line": entry.line, "check": entry.check, "digest": entry.digest}
        item["started"] = entry.started
        if entry.born is not None:
            item["born"] = list(entry.born)
        return _json(item)

    items, gone = [shown(entry) for entry in known.entries], [shown(entry) for entry in known.gone]
    finished = [_json([*key, count]) for key, count in sorted(known.finished.items())]
    parts = [
        f'"blob": {_json(known.blob)}',
        '"finished": [' + ",".join(f"\n  {one}" for one in finished) + ("\n ]" if finished else "]"),
        '"gone": [' + ",".join(f"\n  {one}" for one in gone) + ("\n ]" if gone else "]"),
        '"items": [' + ",".join(f"\n  {one}" for one in items) + ("\n ]" if items else "]"),
    ]
    return ("{\n " + ",\n ".join(parts) + "\n}\n").encode("utf-8", "replace")


def emit_result(result: Mapping[str, Any]) -> bytes:
    """Return ``<id>.result.json``."""
    return (_json(result) + "\n").encode("utf-8", "replace")


def stands_alone(result: Mapping[str, Any] | None) -> bool:
    """Tell whether a result is too large or too deep to stand in the status itself."""
    if result is None:
        return False
    return _depth_over(result, limits.RESULT_INLINE_DEPTH) or len(emit_result(result)) > limits.RESULT_INLINE_BYTES


# --- parts ----------------------------------------------------------------------------------------------------------


def _answer(answer: Answer) -> dict[str, Any]:
    return {"generation": answer.generation, "text": answer.text}


def _decision(decision: Decision) -> dict[str, Any]:
    return {"generation": decision.generation, "approve": decision.approve} | _if("note", decision.note)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    part = {"generation": attempt.generation} | _if("agent", attempt.agent) | {"end": attempt.end.value}
    spent = {"spent": True} if attempt.spent else {}
    return part | _if("reason", attempt.reason) | _if("output_tail", attempt.output_tail) | spent


def _token(token: Token) -> dict[str, Any]:
    until = {} if token.not_after is None else {"not_after": write_time(token.not_after)}
    return {"sha256": token.sha256} | _if("prefix", token.prefix) | until


def _if(key: str, value: str) -> dict[str, Any]:
    return {key: value} if value else {}


# --- lines ----------------------------------------------------------------------------------------------------------


def _put(out: Lines, key: str, value: str | int | None) -> None:
    """Write one short value; None and the empty text are left out, zero is not."""
    if value is not None and value != "":
        out.append(f"{key}: {scalar(value)}")


def _time(out: Lines, key: str, ms: int | None) -> None:
    if ms is not None:
        out.append(f"{key}: {write_time(ms)}")


def _flag(out: Lines, key: str, value: bool) -> None:
    if value:
        out.append(f"{key}: true")


def _text(out: Lines, key: str, value: str) -> None:
    """Write a text that may have several lines; the empty one is left out."""
    if value:
        out.extend(_block(f"{key}:", value, 2))


def _hex(out: Lines, key: str, value: str) -> None:
    """Write an object id, in quotes when some reader would take it for a number (``12e45``)."""
    if value:
        out.append(f"{key}: {quoted(value)}" if _HEX_LETTERS.isdisjoint(value) else f"{key}: {value}")


def _words(out: Lines, key: str, values: tuple[str, ...]) -> None:
    if values:
        out.append(f"{key}: [{', '.join(_flow(value) for value in values)}]")


def _flow(value: str) -> str:
    return quoted(value) if "," in value else scalar(value)


def _parts(out: Lines, key: str, values: Iterable[Any]) -> None:
    values = list(values)
    if values:
        _value(out, key, values, 0)


def _value(out: Lines, key: str, value: Any, indent: int) -> None:
    """Write ``key`` and any JSON value below it."""
    pad = " " * indent
    head = scalar(str(key))
    if len(head) > _SIMPLE_KEY:
        out.append(f"{pad}? {head}")
        _after(out, f"{pad}:", value, indent + 2)
    else:
        _after(out, f"{pad}{head}:", value, indent + 2)


def _after(out: Lines, lead: str, value: Any, indent: int) -> None:
    """Write ``value`` after ``lead`` (``key:`` or ``-``), on the same line or indented below."""
    match value:
        case Mapping() if value:
            if lead.endswith("-"):
                inner: Lines = []
                for key, one in value.items():
                    _value(inner, key, one, indent)
                out.append(f"{lead} {inner[0][indent:]}")
                out.extend(inner[1:])
            else:
                out.append(lead)
                for key, one in value.items():
                    _value(out, key, one, indent)
        case list() | tuple() if value:
            out.append(lead)
            for one in value:
                _after(out, " " * indent + "-", one, indent + 2)
        case str():
            out.extend(_block(lead, value, indent))
        case _:
            out.append(f"{lead} {scalar(value)}")


def _block(lead: str, value: str, indent: int) -> Lines:
    """Return a text of several lines as a literal block where that is exact, else as one scalar."""
    if not fits_block(value):
        return [f"{lead} {scalar(value)}"]
    pad = " " * indent
    chomp = "|" if value.endswith("\n") else "|-"
    body = value[:-1] if value.endswith("\n") else value
    return [f"{lead} {chomp}", *(pad + line if line else "" for line in body.split("\n"))]


def fits_block(text: str) -> bool:
    """Tell whether a text has several lines and a literal block holds it exactly."""
    return "\n" in text and text[0] not in " \t\n" and not _UNSAFE_IN_BLOCK.search(text) and not text.endswith("\n\n")


def scalar(value: Any) -> str:
    """Return one value on one line; an empty list or mapping too."""
    match value:
        case str():
            if len(value) < 200 and _PLAIN.match(value) and value.lower() not in _MEANING:
                return str(value)
            return quoted(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() < _SMALL_BITS:
            return str(value)
        case int():
            text = str(value) if value.bit_length() < _MAX_DIGITS * 3 else hex(value)
            return text if plain_number(text) == value else quoted(text)
        case float():
            return repr(value) if math.isfinite(value) else "null"
        case Mapping():
            return "{}"
        case list() | tuple():
            return "[]"
        case _:
            return scalar(str(value))


def quoted(text: str) -> str:
    """Return ``text`` in double quotes on one line."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict, separators=(", ", ": "))


def _depth_over(value: Any, most: int) -> bool:
    """Tell whether a value nests deeper than ``most`` levels, without recursion."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            if isinstance(one, Mapping | list | tuple)
            for inner in (one.values() if isinstance(one, Mapping) else one)
        ]
        if not level:
            return False
    return any(isinstance(one, Mapping | list | tuple) for one in level)


def _bytes(out: Lines) -> bytes:
    return ("\n".join(out) + "\n").encode("utf-8", "replace") if out else b""
