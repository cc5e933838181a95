"""``agentcom schema``: what may stand in a file, for editors."""

import click

from coordinator.cli.common import json_option, print_json


@click.command("schema")
@click.argument("kind", metavar="task|agent|policy", type=click.Choice(["task", "agent", "policy"]))
@json_option
def command(kind: str, as_json: bool) -> None:
    """Print the JSON Schema of tasks/*.yaml, agents/*.yaml or agentcom.yaml.

    For an editor: `agentcom schema task > tasks/task.schema.json`, and as first line of each task
    `# yaml-language-server: $schema=task.schema.json`.
    """
    import json

    from coordinator.cli.template import schema

    text = schema(kind).read_text(encoding="utf-8")
    if as_json:
        print_json({"kind": kind, "schema": json.loads(text)})
    else:
        click.echo(text, nl=False)
