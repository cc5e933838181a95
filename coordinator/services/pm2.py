"""A service as an ecosystem file of pm2, where that is what runs services on a machine. Pure.

pm2 hears no signs of life. It ends the service by SIGINT, and must leave what the service started to the service.
"""

import json
from pathlib import Path

from coordinator.services.values import FINAL, PAUSE, Manager, Plan, Service, mark_of


def render(service: Service) -> str:
    """Return the text of the ecosystem file, a module of JavaScript."""
    app = {
        "name": service.name,
        "script": service.argv[0],
        "args": list(service.argv[1:]),
        "interpreter": "none",
        "cwd": str(service.cwd),
        "env": {"PATH": service.path, "PYTHONUNBUFFERED": "1"},
        "autorestart": True,
        "restart_delay": PAUSE * 1000,
        "stop_exit_codes": [0, *FINAL],
        "kill_timeout": service.grace * 1000,
        "treekill": False,
    }
    return f"// {mark_of(service.owner)}\nmodule.exports = {json.dumps({'apps': [app]}, indent=2)};\n"


def plan(service: Service, config: Path) -> Plan:
    """Return how pm2 comes to run a service; ``config`` is the person's folder for configuration."""
    file = config / "agentcom" / f"{service.name}.config.js"
    return Plan(
        Manager.PM2,
        service,
        file,
        render(service),
        fresh=(("pm2", "delete", service.name),),
        start=(("pm2", "start", str(file)), ("pm2", "save")),
        stop=(("pm2", "delete", service.name), ("pm2", "save")),
        after_removal=(),
        status=("pm2", "describe", service.name),
        log=("pm2", "logs", service.name, "--nostream", "--lines", "200"),
        notes=("pm2 starts it after a reboot once `pm2 startup` was followed",),
    )
