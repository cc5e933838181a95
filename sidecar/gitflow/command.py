"""``agentcom-git``: the commands of the git flow, for agents and people. Words by default, one JSON line with --json.

It parses, calls one function of the flow, and says what came of it; it decides nothing. A command starts in a fraction
of a second, so each imports what it needs when it is called.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from sidecar.gitflow.values import FlowError, Misused, Refused, Report

#: Version of the JSON that a command prints.
SCHEMA_VERSION = 1
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Said:
    """What a command says: ``lines`` for people, ``value`` for programs, and its exit code."""

    lines: Sequence[str]
    value: Mapping[str, Any] = field(default_factory=dict)
    code: int = 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Misused(f"{message}: see `{self.prog} --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="agentcom-git",
        description="One work tree, one branch and one pull request for each task, from the base as it is now.",
        epilog="Exit codes: 0 done, 1 failed, 64 used wrongly, 65 refused, 66 no work tree of a task, 69 remote or "
        "forge away, 75 another command works on the task, 77 no rights, 78 a setting is wrong.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], Said], text: str) -> argparse.ArgumentParser:
        below = commands.add_parser(name, help=text, description=text)
        below.set_defaults(run=run)
        below.add_argument("--json", action="store_true", dest="as_json", help="print one JSON line instead of words")
        below.add_argument(
            "--repo", type=Path, default=Path(), metavar="DIR", help="a folder inside the repository or work tree"
        )
        return below

    start = command("start-task", _start, "Make the work tree of a task, or go on with the one there is.")
    start.add_argument("task_id", nargs="?", default="", metavar="ID")
    start.add_argument("--task", default="", metavar="FILE", help="the task as JSON, - for standard input")
    start.add_argument("--agent", default="", metavar="ID", help="who works on it (default: AGENTCOM_AGENT)")
    start.add_argument("--fresh", action="store_true", help="do not go on from branches of other agents")

    submit = command("submit", _submit, "Push the task's branch and open its pull request, or bring it up to date.")
    submit.add_argument("--rebase", action="store_true", help="put the commits on the newest base first")
    submit.add_argument("--allow-dirty", action="store_true", help="leave out what is not committed")
    submit.add_argument(
        *("--allow-revert",), action="append", default=[], metavar="PATH", help="this file shall be as it was before"
    )
    submit.add_argument("--draft", action=argparse.BooleanOptionalAction, help="open the pull request as a draft")
    submit.add_argument("--summary", metavar="TEXT", help="what was done")
    submit.add_argument("--summary-file", metavar="FILE", help="the same from a file, - for standard input")
    submit.add_argument("--tested", default="", metavar="TEXT", help="how it was tested")
    submit.add_argument("--tokens", type=int, metavar="N", help="tokens used in all")
    submit.add_argument(
        "--task", default="", metavar="FILE", help="the task as JSON, if it has changed since its start"
    )

    status = command("status", _status, "Say where the work stands, and whether it could be submitted now.")
    status.add_argument("--all", action="store_true", help="every task of this clone, as far as this machine knows")
    status.add_argument("--offline", action="store_true", help="ask neither remote nor forge")

    command("sync", _sync, "Fetch, and put the task's commits on the newest base; nothing is pushed.")

    prune = command("prune", _prune, "Take away work trees of finished tasks; what exists here alone stays.")
    prune.add_argument("task_ids", nargs="*", default=[], metavar="ID", help="these tasks alone")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be taken away")
    prune.add_argument("--remote", action="store_true", help="delete branches on the remote too, once they are merged")

    doctor = command("doctor", _doctor, "Look at everything the commands need, and say what to do.")
    doctor.add_argument("--offline", action="store_true", help="ask neither remote nor forge")
    return parser


# --- the commands -----------------------------------------------------------------------------------------------------


def _start(options: argparse.Namespace) -> Said:
    from sidecar.gitflow import finding, starting
    from sidecar.gitflow.repository import find
    from sidecar.gitflow.worktrees import quoted

    task = finding.task(find(options.repo), options.task_id, options.task)
    done = starting.start(task, options.repo, agent=options.agent, fresh=options.fresh)
    if done.resumed:
        how = "goes on where it was"
    elif done.continued_from:
        how = f"goes on from {done.continued_from}"
    else:
        how = f"from {done.base} at {done.base_commit[:12]}"
    lines = [
        f"{done.task_id}: {how}",
        f"  branch  {done.branch}",
        f"  base    {done.base}" + (f" of {done.remote}" if done.remote else ", here: there is no remote"),
        f"  next    cd {quoted(done.path)}",
        *(f"  note    {remark}" for remark in done.remarks),
    ]
    return Said(lines, asdict(done))


def _submit(options: argparse.Namespace) -> Said:
    from sidecar.gitflow import finding, submitting, tasks

    report = _report(options, os.environ)
    task = None
    if options.task:
        task = tasks.from_json(finding.text_of(options.task, "--task"), options.task)
    done = submitting.submit(
        options.repo,
        task=task,
        report=report,
        rebase=options.rebase,
        allow_dirty=options.allow_dirty,
        allow_revert=options.allow_revert,
        draft=options.draft,
    )
    if done.pushed:
        how = "replaced on the remote after its rebase" if done.forced else "pushed"
    else:
        how = "on the remote already" if done.pull_request or done.request else "ready to be merged"
    lines = [f"{done.task_id}: {done.branch} at {done.commit[:12]} is {how}"]
    if done.pull_request is not None:
        what = "opened" if done.created else done.pull_request.state
        lines.append(f"  pull request  {done.pull_request.url} ({what}, risk {done.risk})")
    else:
        lines.append(f"  merge with    {done.merge}" if not done.request else "  send this to whoever merges:")
        lines += [f"    {line}".rstrip() for line in done.request.splitlines()]
    lines += [f"  left out      {path}" for path in done.left_out]
    lines += [f"  note          {remark}" for remark in done.remarks]
    return Said(lines, asdict(done))


def _report(options: argparse.Namespace, environment: Mapping[str, str]) -> Report:
    """Return what is said of the work: by options, else by the result that the agent has written for its sidecar."""
    from sidecar.gitflow import finding

    if options.summary is not None and options.summary_file:
        raise Misused("--summary and --summary-file are the same thing: give one of them")
    if options.tokens is not None and options.tokens < 0:
        raise Misused(f"--tokens {options.tokens}: give a number from 0 on")
    written = finding.result(environment)
    summary = options.summary if options.summary is not None else written.summary
    if options.summary_file:
        summary = finding.text_of(options.summary_file, "--summary-file")
    tokens = written.tokens if options.tokens is None else options.tokens
    return Report(summary=summary, tested=options.tested or written.tested, tokens=tokens)


def _status(options: argparse.Namespace) -> Said:
    from sidecar.gitflow import standing

    if options.all:
        lines = standing.every(options.repo)
        rows = [(one.task_id, one.state, one.branch, one.path, one.pr_url) for one in lines]
        return Said(_table(rows) or ["no task is in work in this clone"], {"tasks": [asdict(one) for one in lines]})
    now = standing.status(options.repo, offline=options.offline)
    seen, record = now.facts, now.record
    value = {
        "task_id": record.task_id,
        "agent": record.agent,
        "path": now.path,
        "branch": seen.branch,
        "own_branch": seen.own_branch,
        "base": seen.base,
        "base_commit": seen.base_commit,
        "commit": seen.commit,
        "asked": now.asked,
        "ahead": seen.ahead,
        "behind": seen.behind,
        "stale": seen.behind > 0,
        "unpushed": now.unpushed,
        "foreign": seen.foreign,
        "dirty": seen.dirty,
        "untracked": seen.untracked,
        "under_way": seen.under_way,
        "refusals": [asdict(refusal) for refusal in now.refusals],
        "pull_request": None if now.pull_request is None else asdict(now.pull_request),
        "checks": now.checks,
        "remarks": now.remarks,
    }
    return Said(list(_standing_lines(now)), value)


def _standing_lines(now: Any) -> Iterable[str]:
    from sidecar.gitflow.judging import count, named

    seen, record = now.facts, now.record
    yield f"{record.task_id}: {now.path}"
    checked_out = seen.branch or "none (detached HEAD)"
    yield f"  branch        {checked_out}" + (
        "" if seen.branch == seen.own_branch else f", should be {seen.own_branch}"
    )
    when = "" if now.asked else ", as fetched last"
    fresh = f"stale: {count(seen.behind, 'newer commit')}" if seen.behind else "not stale"
    yield f"  base          {seen.base} at {seen.base_commit[:12] or '(unknown)'}{when}; {fresh}"
    if record.remote:
        yield f"  commits       {seen.ahead} beside the base, {now.unpushed} not on {record.remote}"
    else:
        yield f"  commits       {seen.ahead} beside the base"
    saved = [text for text, paths in (("changed", seen.dirty), ("untracked", seen.untracked)) if paths]
    if saved:
        yield f"  uncommitted   {named((*seen.dirty, *seen.untracked))} ({' and '.join(saved)})"
    if now.pull_request is not None:
        checks = f", checks: {now.checks}" if now.checks else ""
        yield f"  pull request  {now.pull_request.url} ({now.pull_request.state}{checks})"
    elif record.pr_url:
        yield f"  pull request  {record.pr_url}"
    yield from (f"  note          {remark}" for remark in now.remarks)
    if now.refusals:
        yield from (f"  before submit {refusal.text}" for refusal in now.refusals)
    elif seen.commit == record.pushed and not now.unpushed:
        yield "  next          nothing: it is submitted as it is"
    else:
        yield "  next          `agentcom-git submit`"


def _sync(options: argparse.Namespace) -> Said:
    from sidecar.gitflow import syncing
    from sidecar.gitflow.judging import count

    done = syncing.sync(options.repo)
    parts = [f"on top of {count(done.joined, 'commit')} that others pushed to it"] if done.joined else []
    parts += [f"on {done.base} at {done.base_commit[:12]}, {count(done.behind, 'commit')} newer"] if done.behind else []
    how = f"is {' and '.join(parts)}" if parts else f"is up to date with {done.base} at {done.base_commit[:12]}"
    lines = [f"{done.task_id}: {done.branch} {how}"]
    if parts:
        lines.append(
            f"  {count(done.ahead, 'commit')} beside the base, newest {done.commit[:12]}; was {done.before[:12]}"
        )
    return Said(lines, asdict(done))


def _prune(options: argparse.Namespace) -> Said:
    from sidecar.gitflow import pruning

    judged, remarks = pruning.prune(options.repo, options.task_ids, dry_run=options.dry_run, on_remote=options.remote)
    gone = "would be taken away" if options.dry_run else "taken away"
    lines = [
        f"{one.task_id} ({one.agent}) kept: {one.keep}"
        if one.keep
        else f"{one.task_id} ({one.agent}) {gone}: {one.why}"
        for one in judged
    ]
    lines += [f"note: {remark}" for remark in remarks]
    value = {
        "dry_run": options.dry_run,
        "removed": [asdict(one) for one in judged if not one.keep],
        "kept": [asdict(one) for one in judged if one.keep],
        "remarks": remarks,
    }
    return Said(lines or ["no task is in work in this clone"], value)


def _doctor(options: argparse.Namespace) -> Said:
    from sidecar.gitflow import checking

    found = checking.check(options.repo, offline=options.offline)
    rows = []
    for one in found:
        rows.append((one.level, one.name, one.text))
        rows += [("", "", f"-> {one.todo}")] if one.todo else []
    wrong = sum(one.level == "wrong" for one in found)
    end = "nothing is wrong" if not wrong else f"{wrong} wrong"
    value = {"wrong": wrong, "checks": [asdict(one) for one in found]}
    return Said([*_table(rows), end], value, EXIT_FAILED if wrong else 0)


# --- how it is said ---------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _clean(text: str) -> str:
    """Return text that cannot play with the terminal."""
    return "".join(char if char.isprintable() else " " for char in _shown(text))


def _shown(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps({"schema_version": SCHEMA_VERSION, **value}, default=lambda one: _shown(str(one))))


def _refuse(text: str, code: int, as_json: bool, refusals: Sequence[Any] = ()) -> int:
    if as_json:
        reasons = [asdict(refusal) for refusal in refusals]
        _print_json({"ok": False, "exit_code": code, "error": text, "refusals": reasons})
    for line in text.splitlines():
        print(f"agentcom-git: {_clean(line)}", file=sys.stderr)
    return code


def run(argv: Sequence[str]) -> int:
    """Do one command, print what came of it, and return its exit code."""
    from coordinator.git.run import GitError

    as_json = "--json" in argv
    try:
        options = _parser().parse_args(argv)
        said: Said = options.run(options)
    except Refused as refused:
        return _refuse(str(refused), refused.exit_code, as_json, refused.refusals)
    except FlowError as error:
        return _refuse(str(error), error.exit_code, as_json)
    except GitError as error:
        return _refuse(f"git says: {' '.join(str(error).split())}", EXIT_FAILED, as_json)
    except OSError as error:
        where = f"{_shown(str(error.filename))}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror}: mend that, then try again", EXIT_FAILED, as_json)
    try:
        if as_json:
            _print_json({"ok": said.code == 0, **said.value})
        else:
            print("".join(f"{_clean(line)}\n" for line in said.lines), end="")
        sys.stdout.flush()
    except BrokenPipeError:
        # who reads has seen enough; the interpreter must not find the pipe broken once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return said.code


def main() -> None:
    """Run the command line of this process."""
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
