"""A service as a systemd unit, of one person (user manager) or of the machine (system manager). Pure.

What shuts the service in is chosen so that git, worktrees and agents' programs still work: no private /tmp, no hidden
home (ssh agents and repositories are there), no ban on namespaces, devices or writable code for a sidecar, whose agents
bring sandboxes, compilers and browsers of their own. In a user unit only what needs no privilege.
"""

from dataclasses import dataclass
from pathlib import Path

from coordinator.services.values import FINAL, PAUSE, START_WITHIN, WATCHDOG, Manager, Plan, Service, mark_of

#: For a hub, which starts git and nothing else; these need no privilege.
_ALONE = (
    "LimitCORE=0",
    "LockPersonality=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
)
#: The same for a hub of the system manager.
_ALONE_SYSTEM = (
    "CapabilityBoundingSet=",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose manager: ``user`` is None for that of the person who asks, else who a system service runs as."""

    folder: Path
    user: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return ("--user",) if self.user is None else ()


def render(service: Service, scope: Scope) -> str:
    """Return the text of the unit."""
    system = scope.user is not None
    lines = [
        f"# {mark_of(service.owner)}",
        "[Unit]",
        f"Description={_specifiers(service.title)}",
        *(("After=network-online.target", "Wants=network-online.target") if system else ()),
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={_command(service.argv)}",
        f"WorkingDirectory={_specifiers(str(service.cwd))}",
        f"Environment={_quoted(f'PATH={service.path}')}",
        "Environment=PYTHONUNBUFFERED=1",
        *((f"User={scope.user}",) if system else ()),
        "Restart=on-failure",
        f"RestartSec={PAUSE}",
        f"RestartPreventExitStatus={' '.join(map(str, FINAL))}",
        f"WatchdogSec={WATCHDOG}",
        "WatchdogSignal=SIGKILL",
        f"TimeoutStartSec={START_WITHIN}",
        f"TimeoutStopSec={service.grace}",
        f"KillMode={'mixed' if service.alone else 'process'}",
        "OOMPolicy=continue",
        *_shut_in(service, system),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if system else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def plan(service: Service, scope: Scope, *, lingers: bool = True) -> Plan:
    """Return how systemd comes to run a service; ``lingers``: a user's services run without a session of theirs."""
    unit = f"{service.name}.service"
    ctl = ("systemctl", *scope.words)
    notes: tuple[str, ...] = ()
    if scope.user is None and not lingers:
        notes = ("it runs while you are logged in; to let it run always, and after a reboot: `loginctl enable-linger`",)
    return Plan(
        Manager.SYSTEMD,
        service,
        scope.folder / unit,
        render(service, scope),
        fresh=(),
        start=((*ctl, "daemon-reload"), (*ctl, "enable", unit), (*ctl, "restart", unit)),
        stop=((*ctl, "disable", "--now", unit),),
        after_removal=((*ctl, "daemon-reload"),),
        status=(*ctl, "is-active", "--quiet", unit),
        log=("journalctl", *scope.words, "--no-pager", "--output=cat", "--lines=200", f"--unit={unit}"),
        notes=notes,
    )


def _shut_in(service: Service, system: bool) -> tuple[str, ...]:
    """Return what the service may not do."""
    lines = ["NoNewPrivileges=yes"]
    if service.alone:
        lines += _ALONE
    if system:
        lines.append("ProtectSystem=full")
        lines += [f"ReadWritePaths={_quoted(f'-{folder}')}" for folder in service.writes]
        if service.alone:
            lines += _ALONE_SYSTEM
    return tuple(lines)


def _command(argv: tuple[str, ...]) -> str:
    program, *words = argv
    return " ".join((_quoted(program), *(_quoted(word.replace("$", "$$")) for word in words)))


def _quoted(word: str) -> str:
    escaped = _specifiers(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _specifiers(text: str) -> str:
    """Return a text in which ``%`` stands for itself."""
    return text.replace("%", "%%")
