"""``agentcom-sidecar``: the command line; exit codes as DECISIONS 17. Anything heavy is imported when it is needed."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator import __version__
from coordinator.terminal import has_colours, is_screen

if TYPE_CHECKING:
    from sidecar.config import Config

EXIT_USAGE = 64
EXIT_FAILED = 1
EXIT_LOCKED = 75
EXIT_CONFIG = 78
#: `status` holds the lock for an instant; a sidecar that runs holds it for good, in seconds.
LOCK_WITHIN_S = 2.0


class _Ends(Exception):
    """The command ends here with one line and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


_config_option = click.option(
    "--config", "config_file", required=True, type=click.Path(path_type=Path), help="YAML or JSON file."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agentcom-sidecar", message="%(prog)s %(version)s")
def commands() -> None:
    """Take work from an AgentCom hub, have it done, report it."""


@commands.command()
@_config_option
@click.option("--once", is_flag=True, help="End after one task; end at the first refusal.")
@click.option("--service", is_flag=True, help="Never give up on a refused token, try again slowly.")
def run(config_file: Path, once: bool, service: bool) -> None:
    """Run the sidecar that FILE describes, until SIGTERM."""
    import logging

    from sidecar import log
    from sidecar.config import ConfigError, exposed, load, missing_program

    try:
        config = load(config_file)
        log.configure((config.token,), config.log_file)
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if missing := missing_program(config):
            raise ConfigError(f"{config_file}: {missing}")
        if remark := exposed(config_file):
            logging.getLogger("sidecar").warning("%s", remark)
        _warn_of_full(config)
    except ConfigError as error:
        raise _Ends(str(error), EXIT_CONFIG) from error
    except OSError as error:
        raise _Ends(
            f"{config_file}: {error.filename}: {error.strerror}; change state_dir or log_file", EXIT_CONFIG
        ) from error
    sys.exit(_locked(config, once, service))


@commands.command()
@click.option("--task-file", metavar="FILE", help="The task's task.md, where AGENTCOM_TASK_FILE is not passed on.")
def mcp(task_file: str | None) -> None:
    """Serve the task in hand to an agent, as an MCP server on stdin and stdout."""
    try:
        from sidecar.mcp import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "mcp":
            raise
        raise _Ends("the MCP server needs one more package: pip install 'agentcom[mcp]'", EXIT_CONFIG) from error
    serve(task_file)


def _warn_of_full(config: "Config") -> None:
    """Say in red what the profile full means; in the log where nobody sees colours."""
    import logging

    if config.runtime.profile != "full":
        return
    text = (
        f"profile full: {config.runtime.definition.name} asks for no permission and may do whatever this user may; "
        "take it only in a container or on a machine of its own"
    )
    if is_screen(sys.stderr):
        coloured = has_colours(sys.stderr)
        click.secho(text, fg="red" if coloured else None, bold=coloured or None, err=True)
    else:
        logging.getLogger("sidecar").warning("%s", text)


def _read(config_file: Path) -> "Config":
    from sidecar.config import ConfigError, load

    try:
        return load(config_file)
    except ConfigError as error:
        raise _Ends(str(error), EXIT_CONFIG) from error


@commands.command()
@_config_option
@_json_option
def status(config_file: Path, as_json: bool) -> None:
    """Show what this sidecar holds: the attempt in hand, results on their way."""
    from sidecar.looking import look

    try:
        seen = look(_read(config_file))
    except OSError as error:
        raise _Ends(f"{error.filename}: {error.strerror}", EXIT_FAILED) from error
    click.echo(seen.as_json() if as_json else seen.as_text())


@commands.command()
@click.argument("task_id", metavar="ID")
@_config_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt is over.")
@click.option("--generation", type=int, help="An earlier attempt (default: the last one here).")
def logs(task_id: str, config_file: Path, follow: bool, generation: int | None) -> None:
    """Show what the program printed while it did task ID."""
    from sidecar.looking import LOOK_EVERY_S, NoSuchAttempt, Output

    try:
        output = Output(_read(config_file), task_id, generation)
        while True:
            over = not follow or output.is_over()
            click.echo(output.more(), nl=False)
            if over:
                return
            time.sleep(LOOK_EVERY_S)
    except NoSuchAttempt as error:
        raise _Ends(str(error), EXIT_FAILED) from error
    except OSError as error:
        raise _Ends(f"{error.filename}: {error.strerror}", EXIT_FAILED) from error


@commands.command()
@_config_option
@_json_option
def doctor(config_file: Path, as_json: bool) -> None:
    """Check everything a sidecar needs, also by a small real task, which may cost some tokens."""
    import asyncio
    import json

    from sidecar.doctor import Check, examine

    checks: list[Check] = []

    def show(check: Check) -> None:
        checks.append(check)
        if not as_json:
            click.secho(check.line(), fg="red" if not check.passed and has_colours(sys.stdout) else None)

    asyncio.run(examine(config_file, show))
    passed = all(check.passed for check in checks)
    if as_json:
        said = {"schema_version": 1, "passed": passed, "checks": [check.as_dict() for check in checks]}
        click.echo(json.dumps(said, ensure_ascii=False, indent=2))
    sys.exit(0 if passed else EXIT_FAILED)


def _locked(config: "Config", once: bool, service: bool) -> int:
    """Run while holding this identity's lock, so that no second sidecar uses the same state."""
    from filelock import FileLock, Timeout

    holder = config.state_dir / "sidecar.pid"
    lock = FileLock(config.state_dir / "sidecar.lock")
    try:
        lock.acquire(timeout=LOCK_WITHIN_S)
    except Timeout as error:
        pid = holder.read_text(encoding="utf-8").strip() if holder.exists() else "unknown"
        raise _Ends(
            f"another sidecar (pid {pid}) runs as {config.agent_id} with {config.state_dir}; stop it, or give this one "
            "an agent_id and a state_dir of its own",
            EXIT_LOCKED,
        ) from error
    except OSError as error:
        raise _Ends(
            f"{error.filename or lock.lock_file}: {error.strerror}; change state_dir, or its owner", EXIT_CONFIG
        ) from error
    try:
        return _run(config, holder, once, service)
    finally:
        lock.release()


def _run(config: "Config", holder: Path, once: bool, service: bool) -> int:
    import asyncio

    from coordinator.wire.notify import Herald
    from sidecar.daemon import Daemon
    from sidecar.outbox import write_pid

    async def daemon() -> int:
        return await Daemon(config, once=once, service=service, herald=Herald.of()).run()

    try:
        write_pid(holder)
        return asyncio.run(daemon())
    except OSError as error:
        raise _Ends(f"{error.filename or config.state_dir}: {error.strerror}", EXIT_FAILED) from error


def main() -> None:
    """Run the command line of this process."""
    try:
        commands.main(prog_name="agentcom-sidecar", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "agentcom-sidecar"
        click.echo(f"{path}: {' '.join(error.format_message().split()).rstrip('.?')}; see `{path} --help`", err=True)
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_FAILED)
    except click.Abort:
        sys.exit(EXIT_FAILED)
    except _Ends as end:
        click.echo(f"agentcom-sidecar: {end}", err=True)
        sys.exit(end.code)


if __name__ == "__main__":
    main()
