"""``agentcom mcp``: the commands of a person as tools for the person's own agent session."""

from pathlib import Path

import click

from coordinator.cli.common import EXIT_FAILED, directory_option, fail
from coordinator.cli.reading_options import open_ground


@click.command("mcp")
@directory_option
def command(directory: Path) -> None:
    """Serve MCP on standard input and output: add, list, ask why, answer, approve.

    For a person's own session, for example: claude mcp add agentcom -- agentcom mcp --repo DIR

    Every tool does what the command of that name does, as the person whose git identity is set here.
    """
    open_ground(directory)
    try:
        from coordinator.cli.mcp_server import make_server
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "mcp":
            raise
        fail("this takes the extra `mcp`: pip install 'agentcom[mcp]'", EXIT_FAILED)
    make_server(directory.absolute()).run("stdio")
