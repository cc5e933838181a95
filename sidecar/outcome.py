"""What a run amounts to: from the result file, the runtime's envelope and the exit to ``Success`` or ``Failure``.

Pure. An exit code of 0 alone is never success: the agent has to say so in its result file, or its runtime in the
envelope that it prints (DESIGN 6).
"""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, get_args

from coordinator.wire import plain
from coordinator.wire.frames import FailureClass
from sidecar.runtimes import reading
from sidecar.runtimes.reading import Printed
from sidecar.runtimes.schema import Definition
from sidecar.values import Blocked, Failure, Outcome, Success

#: A run that ends without any output within this many seconds never really began: the environment is wrong.
EARLY_DEATH_S = 10.0
#: How much of the last output goes with every result that is not success, in bytes.
TAIL_BYTES = 4096
#: Largest result that is sent, in bytes of JSON; the whole stays in the result file.
RESULT_BYTES = 1024 * 1024
#: Longest error text that is sent, in characters.
ERROR_CHARS = 4000
#: Longest question that is sent, in characters; the hub keeps as many.
QUESTION_CHARS = 8192
#: What lies beyond the year 9999 is no instant, in ms since the epoch.
LATEST_MS = 253_402_300_800_000

_CLASSES: dict[str, FailureClass] = {name: name for name in get_args(FailureClass)}
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended; ``code`` is negative for a signal, None when it never ran (``error`` says why).

    ``given_up``: why it was ended although there was time left.
    """

    code: int | None
    seconds: float
    output_bytes: int
    error: str = ""
    timed_out: bool = False
    given_up: Failure | None = None
    command: str = ""


def judge(end: Exit, result: bytes | None, printed: Printed, definition: Definition, now: int) -> Outcome:
    """Return the outcome of a run that ended; ``result`` is the result file, None when there is none, ``now`` in ms."""
    tail = clean(printed.tail.encode(errors="replace"))
    found = reading.objects(definition, printed)
    outcome = _with_usage(read_result(result, tail), definition, found) if result is not None else None
    if outcome is None and end.code is None:
        outcome = Failure(end.error or "could not be started", "environment")
    outcome = outcome or end.given_up
    if outcome is None and end.timed_out:
        outcome = Failure(f"still running after {end.seconds:.0f} s, killed", "timeout")
    if outcome is None and end.code == 0:
        outcome = reading.succeeded(definition, found, printed)
    if isinstance(outcome, Success | Blocked):
        return outcome
    failure = outcome or reading.failed(definition, end.code, found, printed, now) or _without_a_sign(end, definition)
    return replace(
        failure, error=f"{_how(end)}: {failure.error}"[:ERROR_CHARS], output_tail=failure.output_tail or tail
    )


def _how(end: Exit) -> str:
    """Say which command it was and how it ended."""
    name = end.command or "the run"
    if end.code is None:
        return f"{name} did not start"
    if end.timed_out or end.given_up:
        return f"{name} was ended"
    return f"{name} was killed by signal {-end.code}" if end.code < 0 else f"{name} exited with {end.code}"


def _without_a_sign(end: Exit, definition: Definition) -> Failure:
    """Return what a run without result, envelope and sign is: an environment in which nothing began, or an error."""
    what = "no result file" if definition.output.format == "text" else "neither a result file nor the end of a good run"
    if end.output_bytes == 0 and end.seconds < EARLY_DEATH_S:
        return Failure(f"left {what}, {end.seconds:.1f} s after its start and without output", "environment")
    return Failure(f"left {what}")


def _with_usage(outcome: Outcome, definition: Definition, found: list[dict[str, Any]]) -> Outcome:
    """Add what the runtime says about tokens to a result whose agent does not say it."""
    if not isinstance(outcome, Success) or outcome.tokens_used:
        return outcome
    spent = reading.usage(definition, found).tokens
    return outcome if spent is None else replace(outcome, tokens_used=spent)


def read_result(data: bytes, tail: str = "") -> Outcome:
    """Read a result file; one that cannot be read is a failure, never a success. Never raises."""
    try:
        raw: Any = plain.read(data)
    except ValueError as error:
        return Failure(f"the result file is not JSON: {error}", output_tail=tail)
    if not isinstance(raw, dict):
        return Failure("the result file is not a JSON object", output_tail=tail)
    status = raw.get("status")
    if status == "blocked" and (question := raw.get("question") or raw.get("reason")):
        return Blocked(str(question)[:QUESTION_CHARS])
    tokens = raw.get("tokens_used")
    if status == "success":
        return Success(_cut(raw), tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None)
    text = raw.get("error") or raw.get("reason") or raw.get("summary") or ""
    if not text or status not in ("failed", "blocked"):
        is_none = "" if status in ("failed", "blocked") else ', which is none of "success", "failed" and "blocked"'
        text = f"the result file says status {clean(str(status).encode())!r}{is_none}" + (f": {text}" if text else "")
    return Failure(
        str(text)[:ERROR_CHARS],
        _CLASSES.get(str(raw.get("class")), "error"),
        retry_at=_instant(raw.get("retry_at")),
        output_tail=tail,
    )


def clean(output: bytes, most: int = TAIL_BYTES) -> str:
    """Return the last ``most`` bytes of output as text without escape sequences and control characters."""
    return printable(output[-most:].decode(errors="replace")).strip()


def printable(text: str) -> str:
    """Return text that cannot play with a terminal; line breaks and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def _instant(value: object) -> int | None:
    """Read ``retry_at``: ms since the epoch, or RFC 3339; anything else is no instant."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
        except (ValueError, OverflowError):
            return None
    return int(value) if isinstance(value, int | float) and 0 < value < LATEST_MS else None


def _cut(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result, or what people need most of it with ``truncated`` when it is too large to send."""
    if len(json.dumps(result, ensure_ascii=False).encode()) <= RESULT_BYTES:
        return result
    kept: dict[str, Any] = {"status": result["status"], "truncated": True}
    for name in ("summary", "pr_url", "branch", "tokens_used", "verification_report"):
        if name in result and len(json.dumps(result[name])) <= RESULT_BYTES // 8:
            kept[name] = result[name]
    if "summary" not in kept and isinstance(result.get("summary"), str):
        kept["summary"] = result["summary"][: RESULT_BYTES // 16]
    return kept
