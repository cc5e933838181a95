"""The two services that there are: the hub of a clone, and the sidecar of a config file. Pure but for this interpreter.

Both run by the interpreter that installs them, without a folder of the repository on its path (``-P``): a project may
have a package of its own called ``coordinator`` or ``sidecar``.
"""

import sys
from pathlib import Path

from coordinator.services.values import Service, slug

#: How long a hub may take to stop, in seconds: the batch in hand, and a last push.
HUB_GRACE = 60
#: What is added to a sidecar's own patience with the work in hand, in seconds.
SIDECAR_MARGIN = 30


def hub(
    common_dir: Path, top: Path, options: tuple[str, ...], path: str, name: str = "", data_dir: Path | None = None
) -> Service:
    """Return the hub of one clone: ``top`` is its work tree, or the git directory itself where it is bare.

    ``options`` are further words of ``agentcom hub``; ``data_dir`` is where mail is kept if not in the clone.
    """
    project = slug(top.name)
    argv = (sys.executable, "-P", "-m", "coordinator", "hub", "--repo", str(top), *options)
    return Service(
        name or f"agentcom-hub-{project}",
        f"AgentCom hub of {project}",
        common_dir,
        argv,
        top,
        path,
        HUB_GRACE,
        alone=True,
        writes=(common_dir,) if data_dir is None else (common_dir, data_dir),
    )


def sidecar(config: Path, agent_id: str, patience: float, path: str) -> Service:
    """Return the sidecar of one agent; ``config`` is its file, ``patience`` how long it waits for work, in seconds."""
    argv = (sys.executable, "-P", "-m", "sidecar", "run", "--service", "--config", str(config))
    return Service(
        f"agentcom-sidecar-{agent_id}",
        f"AgentCom sidecar of {agent_id}",
        config,
        argv,
        config.parent,
        path,
        round(patience) + SIDECAR_MARGIN,
        alone=False,
    )
