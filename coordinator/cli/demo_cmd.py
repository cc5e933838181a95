"""``agentcom demo``: see it work."""

import sys

import click

from coordinator.cli.board import Board
from coordinator.cli.common import EXIT_FAILED, fail, print_table, toned
from coordinator.terminal import is_screen


@click.command("demo")
@click.option("--tasks", type=click.IntRange(1, 500), default=10, show_default=True, help="How many lines to write.")
@click.option("--agents", type=click.IntRange(1, 16), default=2, show_default=True, help="How many sidecars to start.")
@click.option("--chaos", is_flag=True, help="kill -9 one sidecar in mid-task and later the hub; start both again.")
@click.option("--keep", is_flag=True, help="Keep the folder to look around in.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end; progress goes to stderr.")
def command(tasks: int, agents: int, chaos: bool, keep: bool, as_json: bool) -> None:
    """Make a fresh repository, start a real hub and real sidecars with fake agents, and count what comes out.

    Exit code 0 only when every task was done exactly once and its file holds what it should.
    """
    import json

    from coordinator.demo.run import run_demo
    from coordinator.demo.stage import StageError
    from coordinator.git.run import GitError

    board = Board(terminal=is_screen(sys.stderr if as_json else sys.stdout), err=as_json)
    try:
        report, folder, log = run_demo(tasks, agents, board.say, board.note, chaos=chaos, keep=keep)
    except (StageError, GitError) as error:
        fail(str(error))
    finally:
        board.note("")
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        _print(report, log)
    if keep or not report.good:
        click.echo(
            f"kept: {folder}  (repository: {folder}/repo, try: git -C {folder}/repo log agentcom/state)", err=as_json
        )
    if not report.good:
        raise click.exceptions.Exit(EXIT_FAILED)


def _print(report: object, log: str) -> None:
    from coordinator.demo.measure import Report

    if not isinstance(report, Report):
        raise TypeError(report)
    ready, commit = report.assignment_latency_ms, report.latency_from_commit_ms
    rows = [
        ("done", f"{report.done} of {report.tasks}"),
        ("lost", str(report.lost)),
        ("done twice", str(report.duplicates)),
        ("assigned after ready", f"p50 {ready['p50']:.0f} ms, p99 {ready['p99']:.0f} ms, max {ready['max']:.0f} ms"),
        (
            "assigned after commit",
            f"p50 {commit['p50']:.0f} ms, p99 {commit['p99']:.0f} ms, max {commit['max']:.0f} ms",
        ),
        ("per agent", ", ".join(f"{name} {number}" for name, number in report.per_agent.items())),
        ("commits written", str(report.commits)),
        ("retries spent", str(report.retries)),
        ("added to a prompt", f"at most {report.overhead_tokens} tokens"),
        ("git fsck --strict", "clean" if report.fsck_clean else "NOT CLEAN"),
        ("your branch and files", "untouched" if report.source_untouched else "CHANGED"),
        ("time in all", f"{report.seconds:.1f} s"),
    ]
    click.echo()
    print_table(rows, "  ")
    click.echo("\nthe end of `git log agentcom/state`:")
    click.echo("\n".join(f"  {line}" for line in log.splitlines()))
    if report.good:
        click.echo("\n" + toned("every task was done exactly once", "done"))
    else:
        click.echo("\n" + toned("SOMETHING IS WRONG, see above", "bad"))
