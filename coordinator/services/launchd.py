"""A service as a launchd agent of one person (macOS). Pure.

launchd hears no signs of life: it starts anew what ended by a failure, whatever the exit code, after a pause.
"""

import plistlib
from pathlib import Path

from coordinator.services.values import PAUSE, Manager, Plan, Service, mark_of

_PREFIX = "org.agentcom."


def label(service: Service) -> str:
    """Return under which name launchd knows a service."""
    return f"{_PREFIX}{service.name}"


def render(service: Service, logs: Path) -> str:
    """Return the text of the property list; what the service says goes to a file in the folder ``logs``."""
    said = str(logs / f"{service.name}.log")
    body = plistlib.dumps(
        {
            "Label": label(service),
            "ProgramArguments": list(service.argv),
            "WorkingDirectory": str(service.cwd),
            "EnvironmentVariables": {"PATH": service.path, "PYTHONUNBUFFERED": "1"},
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": PAUSE,
            "ExitTimeOut": service.grace,
            "StandardOutPath": said,
            "StandardErrorPath": said,
        },
        sort_keys=False,
    ).decode()
    head, _, rest = body.partition("\n")
    return f"{head}\n<!-- {mark_of(service.owner)} -->\n{rest}"


def plan(service: Service, home: Path, uid: int) -> Plan:
    """Return how launchd comes to run a service of the person ``uid``."""
    domain = f"gui/{uid}"
    target = f"{domain}/{label(service)}"
    file = home / "Library/LaunchAgents" / f"{label(service)}.plist"
    logs = home / "Library/Logs"
    return Plan(
        Manager.LAUNCHD,
        service,
        file,
        render(service, logs),
        fresh=(("launchctl", "bootout", target),),
        start=(
            ("launchctl", "enable", target),
            ("launchctl", "bootstrap", domain, str(file)),
            ("launchctl", "kickstart", target),
        ),
        stop=(("launchctl", "bootout", target),),
        after_removal=(),
        status=("launchctl", "print", target),
        log=("tail", "-n", "200", str(logs / f"{service.name}.log")),
    )
