"""``agentcom-report``: how an agent tells its sidecar how far it is, asks, and ends. Files only: no network, no token.

It reads ``AGENTCOM_...`` from its environment and writes into the folder of the attempt (spool.py); the sidecar takes
it from there. It starts in a fraction of a second, so it imports the standard library and little of that. Each command
also prints, once, what has changed about the task meanwhile.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sidecar.spool import FILE_BYTES, Spool

EXIT_FAILED = 1
EXIT_USAGE = 64
#: No answer yet, or another word was said before: nothing is wrong with how it was called.
EXIT_NOT_YET = 75
#: The classes of PROTOCOL 1.4.
CLASSES = ("error", "timeout", "rate_limited", "environment", "budget")
#: Pause between two looks for an answer, in seconds.
LOOK_EVERY_S = 0.2

OUTSIDE = (
    "this is no AgentCom task: AGENTCOM_TASK_FILE is not set. A sidecar sets it for the program that it runs; "
    "elsewhere name the file with --task-file"
)


class Refused(Exception):
    """What was asked cannot be done; the message is one line that says what to do."""

    def __init__(self, text: str, code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.code = code


class Desk:
    """One attempt as its agent sees it. Raises Refused outside of one."""

    def __init__(self, environment: Mapping[str, str], task_file: str | None = None) -> None:
        named = task_file or environment.get("AGENTCOM_TASK_FILE")
        if not named:
            raise Refused(OUTSIDE)
        self.task_file = Path(named).absolute()
        self.spool = Spool(self.task_file.parent)
        self.name = self.task_file.parent.name.rpartition(".")[0] or "this task"
        if not self.task_file.is_file():
            raise Refused(f"{self.task_file} is gone: {self.name} has ended, and its sidecar has cleared it away")

    def task(self) -> dict[str, Any]:
        """Return the task as the hub gave it. Raises Refused."""
        try:
            found: dict[str, Any] = json.loads(self.task_file.with_name("task.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refused(f"{self.task_file.with_name('task.json')}: cannot be read: {error}") from error
        return found

    def text(self) -> str:
        """Return the packet, and after it everything that has changed since."""
        parts = [self.task_file.read_text(encoding="utf-8", errors="replace").rstrip()]
        context = self.task_file.with_name("context.md")
        if context.is_file():
            parts.append(context.read_text(encoding="utf-8", errors="replace").rstrip())
        return "\n\n".join([*parts, *map(spell, self.spool.updates())]) + "\n"

    def news(self) -> list[str]:
        """Return what has changed since this was asked last, one text for each."""
        mark = self.spool.folder / "updates.read"
        try:
            read = int(mark.read_text(encoding="ascii"))
        except (OSError, ValueError):
            read = 0
        updates = self.spool.updates()
        if len(updates) > read:
            mark.write_text(str(len(updates)), encoding="ascii")
        return [spell(update) for update in updates[read:]]

    def finish(self, **result: Any) -> str:
        """Say the last word; return a line about it. Raises Refused when another one was said before."""
        word = {"success": "done", "blocked": "blocked"}.get(result["status"], "failed")
        kept = {name: value for name, value in result.items() if value is not None}
        if len(json.dumps(kept)) > FILE_BYTES:
            raise Refused(f"that is over {FILE_BYTES // 1024} KiB; put it into a file, and say here where it is")
        before = self.spool.finish(kept)
        if before is None:
            return f"{self.name}: {word}; end now, everything else is the sidecar's"
        if before.get("status") != result["status"]:
            status = before.get("status")
            raise Refused(f"{self.name}: status {status!r} was reported before, and the first word counts; end now")
        return f"{self.name}: {word} was reported before; end now"


def spell(update: Mapping[str, Any]) -> str:
    """Return a change of the task for people and agents to read."""
    if update.get("answer") is not None:
        return f"answer: {update['answer']}"
    named = {name: value for name, value in update.items() if name not in ("type", "task_id", "generation")}
    return "the task was changed: " + json.dumps(named, ensure_ascii=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message}; see `{self.prog} --help`", EXIT_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="agentcom-report", description="Tell AgentCom how far the task in hand is. Works offline.")
    parser.add_argument("--task-file", metavar="FILE", help="the task's task.md, when AGENTCOM_TASK_FILE is not set")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    command("show", "Print the task, and what has changed about it.")
    command("started", "Say that the work is taken up.")
    progress = command("progress", "Say how far the work is, in percent.")
    progress.add_argument("percent", type=float, metavar="N")
    progress.add_argument("note", nargs="?", metavar="TEXT")
    progress.add_argument("--tokens", type=int, metavar="N", help="tokens used so far")
    note = command("note", "Say what is being done now.")
    note.add_argument("note", metavar="TEXT")
    done = command("done", "Say that the task is done. The last word: end after it.")
    done.add_argument("text", nargs="?", metavar="TEXT", help="what was done")
    done.add_argument("--summary", metavar="TEXT", help="the same")
    done.add_argument("--tokens", type=int, metavar="N", help="tokens used in all")
    fail = command("fail", "Say that the task cannot be done, and why. The last word.")
    fail.add_argument("text", metavar="TEXT")
    fail.add_argument("--class", dest="kind", choices=CLASSES, default="error", help="whose fault it is")
    block = command("block", "Ask people something and end; the task goes on with the answer later. The last word.")
    block.add_argument("text", metavar="QUESTION")
    ask = command("ask", "Ask people something and go on; the answer is printed when it has come.")
    ask.add_argument("text", nargs="?", metavar="QUESTION")
    ask.add_argument("--wait", action="store_true", help="wait for the answer and print it")
    ask.add_argument("--within", type=float, metavar="SECONDS", help="wait so long at most")
    return parser


def run(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Do one command and return what it prints. Raises Refused, and OSError when nothing can be written."""
    options = _parser().parse_args(argv)
    desk = Desk(environment, options.task_file)
    match options.command:
        case "show":
            desk.news()
            return desk.text()
        case "started":
            desk.spool.confirm()
            said = f"{desk.name}: taken up"
        case "progress":
            said = _progress(desk, options)
        case "note":
            desk.spool.say("progress", note=_words(options.note, "TEXT"))
            said = f"{desk.name}: noted"
        case "done":
            said = desk.finish(status="success", summary=_summary(options), tokens_used=options.tokens)
        case "fail":
            said = desk.finish(status="failed", error=_words(options.text, "TEXT"), **{"class": options.kind})
        case "block":
            said = desk.finish(status="blocked", question=_words(options.text, "QUESTION"))
        case _:
            return _ask(desk, options)
    return "\n".join([said, *desk.news()]) + "\n"


def _summary(options: argparse.Namespace) -> str | None:
    if options.text and options.summary and options.text != options.summary:
        raise Refused("TEXT and --summary are the same thing; give one of them", EXIT_USAGE)
    summary: str | None = options.summary or options.text
    return summary


def _words(text: str, name: str) -> str:
    if not text.strip():
        raise Refused(f"{name} is empty; say it in words", EXIT_USAGE)
    if len(text) > FILE_BYTES // 4:
        raise Refused(f"{name} is too long; put it into a file, and say here where it is", EXIT_USAGE)
    return text


def _progress(desk: Desk, options: argparse.Namespace) -> str:
    if not 0 <= options.percent <= 100:
        raise Refused(f"{options.percent:g} is no percentage; give 0 to 100", EXIT_USAGE)
    said = {"progress": options.percent, "note": options.note, "tokens": options.tokens}
    desk.spool.say("progress", **{name: value for name, value in said.items() if value is not None})
    return f"{desk.name}: {options.percent:g} %"


def _ask(desk: Desk, options: argparse.Namespace) -> str:
    wait = options.wait or options.within is not None
    if options.text is not None:
        before = desk.spool.ask(_words(options.text, "QUESTION"))
    elif not wait:
        raise Refused("what is the question? `agentcom-report ask --wait` alone waits for one asked before", EXIT_USAGE)
    elif desk.spool.open_question() is None:
        answers = desk.spool.answers()
        if not answers:
            raise Refused(f"{desk.name}: nothing was asked; say `agentcom-report ask QUESTION --wait`", EXIT_USAGE)
        before = len(answers) - 1
    else:
        before = len(desk.spool.answers())
    if not wait:
        return f"{desk.name}: asked; `agentcom-report ask --wait` waits for the answer and prints it\n"
    end = None if options.within is None else time.monotonic() + options.within
    while len(answers := desk.spool.answers()) <= before:
        if end is not None and time.monotonic() >= end:
            raise Refused(
                f"{desk.name}: no answer yet; wait again with `agentcom-report ask --wait`, or end: "
                "the task goes on when the answer has come",
                EXIT_NOT_YET,
            )
        time.sleep(LOOK_EVERY_S)
    desk.news()
    return answers[-1] + "\n"


def main() -> None:
    """Run the command line of this process."""
    try:
        said = run(sys.argv[1:], os.environ)
    except Refused as refusal:
        print(f"agentcom-report: {refusal}", file=sys.stderr)
        sys.exit(refusal.code)
    except OSError as error:
        print(f"agentcom-report: {error.filename}: {error.strerror}; nothing was reported", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        sys.stdout.write(said)
        sys.stdout.flush()
    except BrokenPipeError:  # it is reported, and nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
