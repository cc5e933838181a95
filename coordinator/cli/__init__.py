"""The command ``agentcom``: one file per command, imported only when it is called."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from coordinator import __version__
from coordinator.cli.lazy import LazyGroup

#: command -> (where it is, one line of help); the line stands here so that ``--help`` imports nothing.
COMMANDS = {
    "up": ("up_cmd:command", "Run everything on this machine: hub, agents, watch."),
    "init": ("init_cmd:command", "Make or equip a repository for AgentCom."),
    "hub": ("hub_cmd:command", "Run the hub: watch the repository, hand out work, keep the trail."),
    "hook": ("hook_cmd:command", "Let a forge tell the hub of pushes."),
    "agent": ("agent_cmd:command", "Add an agent, list agents, say a word about one."),
    "invite": ("invite_cmd:command", "Make a one-time invite for one agent."),
    "add": ("add_cmd:command", "Add a line to BACKLOG.md and commit it."),
    "status": ("status_cmd:command", "Say what is going on: tasks, agents, problems."),
    "task": ("task_cmd:command", "List tasks, show one, write one, say a word about one."),
    "log": ("log_cmd:command", "Show the audit trail, of everything or of one task."),
    "pull": ("pull_cmd:command", "Bring the trail and the status files into your branch."),
    "watch": ("watch_cmd:command", "Show what each save would do; commit it after a while, pull the trail."),
    "compile": ("compile_cmd:command", "Say what committing the saved files would do; anchors and ticks."),
    "reconcile": ("reconcile_cmd:command", "Let the hub look now; say which commit it has observed."),
    "confirm": ("confirm_cmd:command", "Let go on what is held until a person has looked."),
    "import": ("import_cmd:command", "Take over agents and open tasks of version 1."),
    "validate": ("validate_cmd:command", "Check what people write before it is committed."),
    "install-hook": ("install_hook_cmd:command", "Check what people write at every commit, by a git hook."),
    "config": ("config_cmd:command", "Show every setting in force, and who said it."),
    "doctor": ("doctor_cmd:command", "Say what is wrong around a hub, and what to do; a bundle for support."),
    "uninstall": ("uninstall_cmd:command", "Take back git settings and hook; keep files and trail."),
    "schema": ("schema_cmd:command", "Print what may stand in a file, for editors."),
    "dashboard": ("dashboard_cmd:command", "Show the pages of this clone without a hub; make links."),
    "mcp": ("mcp_cmd:command", "Serve these commands to your own agent session (MCP)."),
    "demo": ("demo_cmd:command", "See it work: a fresh repository, a real hub, real sidecars."),
}
EXIT_FAILED = 1
EXIT_USAGE = 64


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="agentcom", message="%(prog)s %(version)s")
def cli() -> None:
    """Write what you want into a git repository, and agents do it.

    Start with `agentcom up` in a project of yours, then `agentcom add "What you want done"` in another terminal.
    `agentcom demo` shows it in a folder that it throws away.
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


def _not_allowed(error: OSError) -> bool:
    return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def _expected(error: Exception) -> str | None:
    """Return a line for trouble of the machine (disk, git, permissions), None for a bug: that shows its traceback."""
    from coordinator.cli.common import one_line
    from coordinator.git.run import GitError
    from coordinator.ports import StoreError

    if isinstance(error, GitError | StoreError):
        return one_line(str(error))
    if isinstance(error, OSError) and error.filename is not None:
        cure = ": you may not write there, or read it; change its owner or mode" if _not_allowed(error) else ""
        return one_line(f"{error.filename}: {error.strerror}{cure}")
    return None
