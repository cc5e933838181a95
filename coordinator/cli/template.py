"""Files that are laid down in a repository: from the installed package, or from the top of a checkout."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import coordinator
from coordinator.cli.common import fail

#: Schema beside people's files -> kind of file; where agents/ and tasks/ are, an editor finds them without a network.
SCHEMAS = {"tasks/task.schema.json": "task", "agents/agent.schema.json": "agent"}


def template(name: str) -> Traversable:
    """Return a template file."""
    installed = files("coordinator") / "template" / name
    if installed.is_file():
        return installed
    checkout = Path(coordinator.__file__).parent.parent / name
    if not checkout.is_file():
        fail(f"the template {name} is missing from this installation: install AgentCom again")
    return checkout


def schema(kind: str) -> Traversable:
    """Return the JSON Schema of one kind of file."""
    return template(f"docs/schemas/{kind}.schema.json")
