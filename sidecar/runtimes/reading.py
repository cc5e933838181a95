"""What a program's output says: success in its own envelope, or a failure with its class. Pure.

Order: what takes success away, the runtime's positive end sign, its own signs of failure, then the signs that hold for
every runtime. Patterns of text are looked for only where no success stands, because an agent's own words may hold them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coordinator.wire import plain
from sidecar.runtimes.instants import instant_in, instant_of
from sidecar.runtimes.schema import Definition, Pick, Sign
from sidecar.values import Failure, Success

#: Most of an answer that becomes the summary, in characters.
SUMMARY_CHARS = 16_000
#: How much of the end of a text is searched for signs, in characters.
_SEARCHED_CHARS = 8_000
_SHOWN_CHARS = 300
#: The last line of an answer that takes its success away; the packet tells the agent so.
FAILED_LINE = "AGENTCOM: failed"
_FAILED = re.compile(r"[*`>\s]*AGENTCOM:\s*failed\b[:\s]*(.*)", re.IGNORECASE)

#: Signs that hold for every runtime, in its error message, else in the last lines of a run that ended badly.
GENERIC = tuple(
    Sign.model_validate({"class": failure_class, "say": say, "text": text})
    for failure_class, say, text in (
        ("rate_limited", "usage limit", r"(?i)\b429 too many requests|\brate[ _-]?limit(ed|_error| exceeded| reached)"),
        (
            "rate_limited",
            "usage limit",
            r"(?i)\b(usage|session|weekly|quota|request) limit (was |has been )?(reached|exceeded)",
        ),
        ("rate_limited", "usage limit", r"(?i)you('ve| have) (hit|reached|exceeded) your .{0,40}(limit|quota)"),
        ("environment", "not logged in", r"(?i)\bnot logged in\b|\bplease (run .{0,40}login|log ?in)\b"),
        (
            "environment",
            "the key or login is refused",
            r"(?i)\binvalid[ _]api[ _]key|\bauthentication_error\b|\b401 unauthorized\b",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Printed:
    """What a run left: its standard output and error as far as they were kept, and the last of both together."""

    stdout: str = ""
    stderr: str = ""
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run cost by its runtime's account; None where it does not say."""

    tokens: int | None = None
    cost_usd: float | None = None
    session: str | None = None


def objects(definition: Definition, printed: Printed) -> list[dict[str, Any]]:
    """Return the JSON objects that the program printed; of format ``json`` the last one, on either stream."""
    match definition.output.format:
        case "text":
            return []
        case "jsonl":
            return [found for line in printed.stdout.splitlines() if (found := _object(line)) is not None]
        case "json":
            for text in (printed.stdout, printed.stderr):
                found = _last_object(text)
                if found is not None:
                    return [found]
            return []


def usage(definition: Definition, found: list[dict[str, Any]]) -> Usage:
    """Return what the objects say about tokens, cost and session."""
    output = definition.output
    tokens = [value for value in _picked(output.tokens, found) if _is_number(value)]
    costs = [value for value in _picked(output.cost, found) if _is_number(value)]
    sessions = [value for value in _picked(output.session, found) if isinstance(value, str)]
    return Usage(
        tokens=int(sum(tokens)) if tokens else None,
        cost_usd=round(float(sum(costs)), 6) if costs else None,
        session=sessions[-1][:200] if sessions else None,
    )


def succeeded(definition: Definition, found: list[dict[str, Any]], printed: Printed) -> Success | Failure | None:
    """Return what a run that ended with 0 amounts to by its own account; None when it gives none."""
    output = definition.output
    if output.format == "text":
        return None
    for sign in definition.refused:
        if failure := _match(sign, found, printed.stderr):
            return failure
    if not _ended_well(output.end, found):
        return None
    answer = "\n".join(_texts(output.answer, found)).strip()
    if not answer:
        return Failure("ended well by its own account, with an empty answer")
    last = answer.splitlines()[-1]
    if said := _FAILED.fullmatch(last):
        return Failure(f"the agent says: {said[1].strip(' `*') or 'failed'}")
    result: dict[str, Any] = {"status": "success", "summary": answer[:SUMMARY_CHARS]}
    spent = usage(definition, found)
    if len(answer) > SUMMARY_CHARS:
        result["truncated"] = True
    if spent.cost_usd is not None:
        result["cost_usd"] = spent.cost_usd
    if spent.session is not None:
        result["session"] = spent.session
    return Success(result, spent.tokens)


def failed(
    definition: Definition, code: int | None, found: list[dict[str, Any]], printed: Printed, now: int
) -> Failure | None:
    """Return the failure that a sign tells of, with its time to try again; None when none is known. ``now`` in ms."""
    said = [text for pick in definition.output.error for text in _texts(pick, found)]
    text = "\n".join(said) or (_end(printed.stderr) or _end(printed.tail) if code != 0 else "")
    for sign in (*definition.signs, *definition.refused, *GENERIC):
        failure = _match(sign, found, text, code)
        if failure is not None:
            detail = " ".join((said or [_telling_line(sign, text)])[0].split())[:_SHOWN_CHARS]
            error = f"{failure.error}: {detail}" if detail and detail not in failure.error else failure.error
            return Failure(error, failure.failure_class, retry_at=_retry_at(definition, failure, found, text, now))
    if said:
        return Failure(" ".join(said[0].split())[:_SHOWN_CHARS])
    return None


def given_up(definition: Definition, output: str, now: int) -> Failure | None:
    """Return why a run that still goes on must end, from its output so far."""
    for sign in definition.give_up:
        failure = _match(sign, [], output)
        if failure is not None:
            return Failure(
                f"{failure.error}: {_telling_line(sign, output)}",
                failure.failure_class,
                retry_at=_retry_at(definition, failure, [], output, now),
            )
    return None


def values_at(value: Any, path: str) -> list[Any]:
    """Return every value at ``a.b.*.c`` inside a JSON value, in its order."""
    found = [value]
    for part in path.split("."):
        below: list[Any] = []
        for one in found:
            if isinstance(one, Mapping):
                below += list(one.values()) if part == "*" else [one[part]] if part in one else []
            elif isinstance(one, list):
                below += one if part == "*" else []
        found = below
    return found


# --- objects ----------------------------------------------------------------------------------------------------------


def _object(text: str) -> dict[str, Any] | None:
    if "{" not in text:
        return None
    try:
        value = plain.read(text.strip())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the whole text as an object, else the last object that begins a line: warnings may stand before it."""
    whole = _object(text)
    if whole is not None:
        return whole
    decoder = json.JSONDecoder()
    end = len(text)
    while (start := text.rfind("\n{", 0, end)) >= 0 or (text.startswith("{") and end > 0):
        start = max(start + 1, 0)
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            made_plain = plain.plain(value)
            return made_plain if isinstance(made_plain, dict) else None
        end = start - 1 if start else 0
    return None


def _holds(one: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(any(_equals(value, wanted) for value in values_at(one, path)) for path, wanted in where.items())


def _equals(value: Any, wanted: Any) -> bool:
    """Compare with what a runtime file says: ``~pattern`` is looked for in a text, anything else is meant exactly."""
    if isinstance(wanted, str) and wanted.startswith("~"):
        text = value if isinstance(value, str) else "" if value in (None, [], {}) else json.dumps(value)
        return re.search(wanted[1:], text, re.DOTALL) is not None
    return type(value) is type(wanted) and bool(value == wanted)


def _picked(pick: Pick | None, found: list[dict[str, Any]]) -> list[Any]:
    """Return the values that a pick names: of the last object that has any, or of all of them."""
    if pick is None:
        return []
    per_object = [
        values
        for one in found
        if _holds(one, pick.where) and (values := [value for path in pick.paths for value in values_at(one, path)])
    ]
    if pick.take == "last":
        per_object = per_object[-1:]
    return [value for values in per_object for value in values]


def _texts(pick: Pick | None, found: list[dict[str, Any]]) -> Iterator[str]:
    for value in _picked(pick, found):
        if isinstance(value, str) and value.strip():
            yield value.strip()


def _ended_well(end: Mapping[str, Any], found: list[dict[str, Any]]) -> bool:
    """Tell whether the last object of the kind that ends a run, which is its first condition, is as it should be."""
    path, wanted = next(iter(end.items()))
    kind = [one for one in found if _holds(one, {path: wanted})]
    return bool(kind) and _holds(kind[-1], end)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- signs ------------------------------------------------------------------------------------------------------------


def _match(sign: Sign, found: list[dict[str, Any]], text: str, code: int | None = None) -> Failure | None:
    seen = [one for one in found if _holds(one, sign.where)] if sign.where else []
    if sign.where and not seen:
        return None
    if sign.exit and code not in sign.exit:
        return None
    if sign.text and not re.search(sign.text, text, re.MULTILINE):
        return None
    shown: list[str] = []
    if sign.show and seen:
        shown = list(dict.fromkeys(str(value) for value in values_at(seen[-1], sign.show)))
    return Failure(f"{sign.say} ({', '.join(shown)[:_SHOWN_CHARS]})" if shown else sign.say, sign.failure_class)


def _telling_line(sign: Sign, text: str) -> str:
    """Return the line in which a pattern stands, else the last one."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if sign.text:
        for line in reversed(lines):
            if re.search(sign.text, line):
                return line[:_SHOWN_CHARS]
    return lines[-1][:_SHOWN_CHARS] if lines else ""


def _retry_at(definition: Definition, failure: Failure, found: list[dict[str, Any]], text: str, now: int) -> int | None:
    if failure.failure_class != "rate_limited":
        return None
    for value in _picked(definition.output.retry_at, found):
        if (moment := instant_of(value, now)) is not None:
            return moment
    return instant_in(text, now)


def _end(text: str) -> str:
    return text[-_SEARCHED_CHARS:]
