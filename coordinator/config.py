"""How a hub of this machine is set up: by the command line, the environment, and a file that is in no repository.

The file is ``--config FILE``, else ``~/.config/agentcom/hub.yaml``, else ``/etc/agentcom/hub.yaml``; the first that is
there counts alone, and paths in it count from its folder. This module decides which file that is, what it says, and
which of the three wins for each setting. What the settings mean is decided where they are used.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordinator.files.loader import load_machine, marks
from coordinator.files.schema import MachineFile
from coordinator.listening import EXIT_CONFIG, Listening, Tls, address
from coordinator.sourced import Sourced, first, variable
from coordinator.trail import CannotStart

SYSTEM = Path("/etc/agentcom/hub.yaml")
#: Where a hub listens when nobody says where.
USUAL = "127.0.0.1:4000"
#: What may hold the secret of push hooks.
HOOK_SECRET = "AGENTCOM_HOOK_SECRET"  # noqa: S105 - not a secret


@dataclass(frozen=True, slots=True)
class Machine:
    """What the file says; None where it says nothing. ``where`` is the file, None without one.

    ``marks`` tells line and column of each value.
    """

    where: Path | None = None
    repo: Path | None = None
    remote: str | None = None
    source: str | None = None
    listen: str | None = None
    tls: Tls | None = None
    behind_proxy: bool = False
    plain: bool = False
    public_url: str | None = None
    data_dir: Path | None = None
    hook_secret: str | None = field(default=None, repr=False)
    marks: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)

    def says(self, key: str) -> tuple[Any, str]:
        """Return what the file says of ``key``, None when it says nothing, and where."""
        if key not in self.marks:
            return None, ""
        return getattr(self, key), f"{self.where}:{self.marks[key][0]}:{self.marks[key][1]}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of a hub; None where it says nothing. Paths are as they were typed."""

    repo: Path | None = None
    remote: str | None = None
    source: str | None = None
    listen: str | None = None
    tls: Tls | None = None
    behind_proxy: bool = False
    plain: bool = False
    public_url: str | None = None
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What is in force for a hub that is started now, and who said it.

    ``repo`` is a directory in the repository, not yet absolute; ``source``, ``remote``, ``data_dir`` and
    ``hook_secret`` are None where the repository decides. ``machine`` is the file.
    """

    machine: Machine
    repo: Sourced[Path]
    remote: Sourced[str | None]
    source: Sourced[str | None]
    listen: Sourced[str]
    tls: Sourced[Tls | None]
    behind_proxy: Sourced[bool]
    plain: Sourced[bool]
    public_url: Sourced[str | None]
    data_dir: Sourced[Path | None]
    hook_secret: Sourced[str | None] = field(repr=False)

    def listening(self) -> Listening:
        """Return where and how it listens. Raises CannotStart when the address is none."""
        host, port = address(self.listen.value, self.listen.origin)
        return Listening(host, port, self.tls.value, self.behind_proxy.value, self.plain.value, self.public_url.value)


def settled(asked: Asked, machine: Machine, environ: Mapping[str, str] = os.environ) -> Settled:
    """Return what counts: the command line, then the environment, then the file, then the default."""
    here = asked.tls is not None or asked.behind_proxy or asked.plain
    file = Machine() if here else machine  # these three go together: a word about one is a word about all
    return Settled(
        machine=machine,
        repo=first(Path(), (asked.repo, "--repo"), machine.says("repo"), otherwise="the current directory"),
        remote=first(None, (asked.remote, "--remote"), machine.says("remote")),
        source=first(None, (asked.source, "--source"), machine.says("source")),
        listen=first(USUAL, (asked.listen, "--listen"), machine.says("listen")),
        tls=first(None, (asked.tls, "--tls-cert, --tls-key"), file.says("tls")),
        behind_proxy=first(False, (asked.behind_proxy or None, "--behind-proxy"), file.says("behind_proxy")),
        plain=first(False, (asked.plain or None, "--plain"), file.says("plain")),
        public_url=first(None, (asked.public_url, "--public-url"), machine.says("public_url")),
        data_dir=first(None, (asked.data_dir, "--data-dir"), machine.says("data_dir")),
        hook_secret=first(None, (environ.get(HOOK_SECRET) or None, variable(HOOK_SECRET)), machine.says("hook_secret")),
    )


def find(named: Path | None, environ: Mapping[str, str] = os.environ) -> Machine:
    """Return what the machine config says; ``named`` must be there. Raises CannotStart with ``path:line:col``."""
    if named is not None:
        return read(named)
    path = next((path for path in usual_files(environ) if path.is_file()), None)
    return Machine() if path is None else read(path)


def usual_files(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return where the file is looked for when nobody names one, first that of this person."""
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config"
    return Path(base) / "agentcom" / "hub.yaml", SYSTEM


def read(path: Path) -> Machine:
    """Return what one file says. Raises CannotStart."""
    path = path.absolute()
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise CannotStart(f"--config {path}: {error.strerror or error}", EXIT_CONFIG) from None
    said = load_machine(str(path), data)
    if not isinstance(said, MachineFile):
        raise CannotStart("\n".join(map(str, said)), EXIT_CONFIG)
    if said.hook_secret is not None and mode & 0o077:
        raise CannotStart(f"{path} holds hook_secret and others may read it: chmod 600 {path}", EXIT_CONFIG)

    def there(text: str) -> Path:
        return path.parent / Path(text).expanduser()

    return Machine(
        where=path,
        repo=None if said.repo is None else there(said.repo),
        remote=said.remote,
        source=said.source,
        listen=said.listen,
        tls=None if said.tls is None else Tls(there(said.tls.cert), there(said.tls.key)),
        behind_proxy=said.behind_proxy,
        plain=said.plain,
        public_url=said.public_url,
        data_dir=None if said.data_dir is None else there(said.data_dir),
        hook_secret=said.hook_secret,
        marks=marks(data),
    )
