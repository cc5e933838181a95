"""The command ``agentcom``: one file per command, imported only when it is called."""

import importlib

import click

from coordinator import __version__

#: command -> (module, one line of help); the line stands here so that ``--help`` imports nothing.
COMMANDS = {
    "init": ("init", "Make or equip a repository for AgentCom."),
    "hub": ("hub", "Run the hub: watch the repository, hand out work, keep the trail."),
    "add": ("add", "Add a line to BACKLOG.md and commit it."),
    "status": ("status", "Say what is going on: tasks, agents, problems."),
    "log": ("log", "Show the audit trail, of everything or of one task."),
    "task": ("task", "List tasks, show one, say why one waits."),
    "agent": ("agent", "Add an agent, list agents."),
    "validate": ("validate", "Check tasks/, agents/, agentcom.yaml and BACKLOG.md before committing."),
    "demo": ("demo", "See it work: a fresh repository, a real hub, real sidecars."),
}


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agentcom")
def cli() -> None:
    """AgentCom: write what you want into a git repository, and agents do it.

    Start with `agentcom demo`, then `agentcom init`, `agentcom agent add` and `agentcom hub`.
    """


def main() -> None:
    """Run the command line; usage errors exit with 64 (DECISIONS 17)."""
    import sys

    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.exceptions.Abort:
        click.echo("aborted", err=True)
        code = 1
    except click.UsageError as error:
        error.show()
        code = 64
    except click.ClickException as error:
        error.show()
        code = getattr(error, "code", error.exit_code)
    except BrokenPipeError:
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
