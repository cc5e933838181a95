"""The command ``agentcom``: one file per command, imported only when it is called."""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

import click

from coordinator import __version__

#: command -> (module, one line of help); the line stands here so that ``--help`` imports nothing.
COMMANDS = {
    "init": ("init", "Make or equip a repository for AgentCom."),
    "hub": ("hub", "Run the hub: watch the repository, hand out work, keep the trail."),
    "agent": ("agent", "Add an agent, list agents."),
    "add": ("add", "Add a line to BACKLOG.md and commit it."),
    "status": ("status", "Say what is going on: tasks, agents, problems."),
    "task": ("task", "List tasks, show one, say why one waits."),
    "log": ("log", "Show the audit trail, of everything or of one task."),
    "pull": ("pull", "Bring the trail and the status files into your branch."),
    "validate": ("validate", "Check what people write before it is committed."),
    "schema": ("schema", "Print what may stand in a file, for editors."),
    "demo": ("demo", "See it work: a fresh repository, a real hub, real sidecars."),
}
EXIT_FAILED = 1
EXIT_USAGE = 64


class _Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"coordinator.cli.{COMMANDS[cmd_name][0]}_cmd")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="agentcom", message="%(prog)s %(version)s")
def cli() -> None:
    """Write what you want into a git repository, and agents do it.

    Start with `agentcom demo`; then `agentcom init`, `agentcom hub` and `agentcom agent add`.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit as DECISIONS 17 says; whatever was to be expected is one line on stderr."""
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="agentcom", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.exceptions.Abort:
        click.echo("agentcom: stopped", err=True)
        code = EXIT_FAILED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = EXIT_USAGE
    except click.UsageError as error:
        click.echo(_usage_line(error), err=True)
        code = EXIT_USAGE
    except click.ClickException as error:
        error.show()
        code = getattr(error, "code", error.exit_code)
    except BrokenPipeError:
        # who read our output has seen enough; the interpreter must not find the pipe broken once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        line = _expected(error)
        if line is None:
            raise
        click.echo(f"agentcom: {line}", err=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _usage_line(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "agentcom"
    said = " ".join(error.format_message().split()).rstrip(".?")
    return f"{path}: {said}; see `{path} --help`"


def _expected(error: Exception) -> str | None:
    """Return a line for trouble of the machine (disk, git, permissions), None for a bug: that shows its traceback."""
    from coordinator.cli.common import one_line
    from coordinator.git.run import GitError
    from coordinator.ports import StoreError

    if isinstance(error, GitError | StoreError):
        return one_line(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        return one_line(f"{error.filename}: {error.strerror}")
    return None
