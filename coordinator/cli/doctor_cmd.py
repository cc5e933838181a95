"""``agentcom doctor``: what is wrong around a hub, what to do, and a bundle for somebody who helps."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_FAILED,
    busy,
    directory_option,
    fail,
    json_option,
    one_line,
    print_json,
    print_table,
)
from coordinator.cli.reading_options import hub_option
from coordinator.terminal import is_screen

if TYPE_CHECKING:
    from coordinator.doctor.examine import Report
    from coordinator.doctor.findings import Finding
    from coordinator.ground import Ground


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what is safe to mend without asking, and say what was done.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a zip for somebody who helps: findings, versions, trail; no secrets.",
)
@hub_option
@directory_option
@json_option
def command(fix: bool, bundle: Path | None, hub: str | None, directory: Path, as_json: bool) -> None:
    """Examine hub, repository, remote, locks, disk, clock, permissions, versions, files and agents.

    Each line says ok, warn or bad, and what to do. Ends with 0 unless something is bad. Writes nothing without --fix or
    --bundle.
    """
    from coordinator.doctor.examine import examine
    from coordinator.doctor.findings import is_well

    directory = directory.absolute()
    with busy("examining ...", quietly=as_json):
        report = examine(directory, hub)
    done: list[str] = []
    if fix and report.ground is not None:
        done = _mended(report.ground, report.findings)
        if done:
            with busy("examining again ...", quietly=as_json):
                report = examine(directory, hub)
    packed = () if bundle is None else _packed(bundle, report)
    if as_json:
        written = None if bundle is None else str(bundle)
        found = [finding.json() for finding in report.findings]
        print_json({"well": is_well(report.findings), "findings": found, "fixed": done, "bundle": written})
    else:
        _say(report.findings)
        for line in done:
            click.echo(f"fixed  {one_line(line)}")
        fixable = [finding for finding in report.findings if finding.cure is not None]
        if fixable and not fix:
            click.echo(f"`agentcom doctor --fix` would mend {len(fixable)} of these")
        if bundle is not None:
            click.echo(f"{bundle}: {', '.join(packed)}; look through it before you give it to somebody")
    if not is_well(report.findings):
        raise click.exceptions.Exit(EXIT_FAILED)


def _mended(ground: "Ground", findings: "tuple[Finding, ...]") -> list[str]:
    from coordinator.doctor.examine import mend
    from coordinator.git.run import GitError

    done: list[str] = []
    try:
        done.extend(mend(ground, findings))
    except (GitError, OSError) as error:
        click.echo(f"agentcom: --fix stopped: {one_line(str(error))}", err=True)
    return done


def _packed(bundle: Path, report: "Report") -> tuple[str, ...]:
    from coordinator.doctor.bundle import write

    try:
        return write(bundle, report)
    except OSError as error:
        fail(f"--bundle {bundle}: {error.strerror or error}")


def _say(findings: "tuple[Finding, ...]") -> None:
    if is_screen(sys.stdout):
        rows = [(one.level, one.check, f"{one.text} -> {one.advice}" if one.advice else one.text) for one in findings]
        print_table(rows, heads=("level", "about", "finding"), whole=True)
        return
    for finding in findings:
        click.echo(f"{finding.level:<5}  {finding.check:<12}  {one_line(finding.text)}")
        if finding.advice:
            click.echo(f"{'':<21}-> {one_line(finding.advice)}")
