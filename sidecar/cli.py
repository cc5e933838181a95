"""``agentcom-sidecar``: the command line; exit codes as DECISIONS 17. Anything heavy is imported when it is needed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator import __version__

if TYPE_CHECKING:
    from sidecar.config import Config

EXIT_USAGE = 64
EXIT_FAILED = 1
EXIT_LOCKED = 75
EXIT_CONFIG = 78


class _Ends(Exception):
    """The command ends here with one line and an exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agentcom-sidecar", message="%(prog)s %(version)s")
def commands() -> None:
    """Take work from an AgentCom hub, have it done, report it."""


@commands.command()
@click.option("--config", "config_file", required=True, type=click.Path(path_type=Path), help="YAML or JSON file.")
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


def _locked(config: "Config", once: bool, service: bool) -> int:
    """Run while holding this identity's lock, so that no second sidecar uses the same state."""
    from filelock import FileLock, Timeout

    holder = config.state_dir / "sidecar.pid"
    lock = FileLock(config.state_dir / "sidecar.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        pid = holder.read_text(encoding="utf-8").strip() if holder.exists() else "unknown"
        raise _Ends(
            f"another sidecar (pid {pid}) runs as {config.agent_id} with {config.state_dir}; stop it, or give this one "
            "an agent_id and a state_dir of its own",
            EXIT_LOCKED,
        ) from error
    try:
        return _run(config, holder, once, service)
    finally:
        lock.release()


def _run(config: "Config", holder: Path, once: bool, service: bool) -> int:
    import asyncio

    from sidecar.daemon import Daemon
    from sidecar.outbox import write_pid

    async def daemon() -> int:
        return await Daemon(config, once=once, service=service).run()

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
