"""A scripted worker for tests and the demo: ``python -m sidecar.runtimes.fake MODE``.

A real child process, so that killing it is honest. In mode ``ok`` it does what a title "write the number N to
test-output-N.txt" says, in its working directory; any other title it just reports as done, and one that ends with a
question mark it asks back until it has an answer. It knows no hub.

Environment besides the usual ``AGENTCOM_...``: ``AGENTCOM_FAKE_LOG``, a file that gets one line ``begin <task_id>
<generation>`` and, when the work was done, one line ``end ...``; ``AGENTCOM_FAKE_DELAY``, seconds that ``ok`` works
(default 0); ``AGENTCOM_FAKE_SLOW``, seconds that ``slow`` works (default 5).
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

_TITLE = re.compile(r"write the number (\d+) to (test-output-\1\.txt)", re.IGNORECASE)
#: How far ahead a rate-limited run asks to be tried again, in seconds.
_RATE_LIMIT_S = 60


def main(mode: str) -> int:
    """Do one attempt in ``mode`` and return the exit code."""
    _note("begin")
    print(f"fake agent: {mode}", flush=True)
    match mode:
        case "ok":
            return _work(float(os.environ.get("AGENTCOM_FAKE_DELAY", "0")))
        case "slow":
            return _work(float(os.environ.get("AGENTCOM_FAKE_SLOW", "5")))
        case "fail":
            _report({"status": "failed", "error": "the fake agent was told to fail"})
            return 1
        case "hang":
            while True:
                signal.pause()
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "rate-limited":
            retry_at = int((time.time() + _RATE_LIMIT_S) * 1000)
            _report({"status": "failed", "class": "rate_limited", "error": "usage limit", "retry_at": retry_at})
            return 1
        case "not-logged-in":
            _report({"status": "failed", "class": "environment", "error": "the fake agent is not logged in"})
            return 1
    print(f"fake agent: no such mode: {mode}", file=sys.stderr)
    return 64


def _work(seconds: float) -> int:
    task = _task()
    title = str(task["title"])
    answers = task["context"]["answers"]
    time.sleep(seconds)
    if title.endswith("?") and not answers:
        _report({"status": "blocked", "question": f"I only pretend, so you tell me: {title}"})
        _note("end")
        return 0
    result: dict[str, Any] = {"status": "success", "summary": f"done: {title}", "tokens_used": 0}
    if match := _TITLE.search(title):
        _replace(Path(match[2]), f"{match[1]}\n")
        result["summary"] = f"wrote {match[1]} to {match[2]}"
    elif answers:
        result["summary"] += f" Answer: {answers[-1].get('text')}"
    # The result comes first: killed between the two lines, the attempt counts once and is not done again.
    _report(result)
    _note("end")
    return 0


def _task() -> dict[str, Any]:
    task: dict[str, Any] = json.loads(Path(os.environ["AGENTCOM_TASK_FILE"]).with_name("task.json").read_text("utf-8"))
    return task


def _report(result: dict[str, Any]) -> None:
    _replace(Path(os.environ["AGENTCOM_RESULT_FILE"]), json.dumps(result))


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, also when this process is killed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _note(word: str) -> None:
    log = os.environ.get("AGENTCOM_FAKE_LOG")
    if log:
        line = f"{word} {os.environ['AGENTCOM_TASK_ID']} {os.environ['AGENTCOM_GENERATION']}\n"
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "ok"))
