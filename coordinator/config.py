"""The hub's machine config: what this machine's hub is told by a file that is in no repository.

``--config FILE``, else ``~/.config/agentcom/hub.yaml``, else ``/etc/agentcom/hub.yaml``; the first that is there counts
alone, and what the command line says wins. This module decides which file that is and what it says; paths in it count
from its folder. What the settings mean is decided where they are used.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.files.loader import load_machine
from coordinator.files.schema import MachineFile
from coordinator.listening import EXIT_CONFIG, Tls
from coordinator.trail import CannotStart

SYSTEM = Path("/etc/agentcom/hub.yaml")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the file says; None where it says nothing. ``where`` is the file, None without one."""

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
    hook_secret: str | None = None


def find(named: Path | None, environ: Mapping[str, str] = os.environ) -> Machine:
    """Return what the machine config says; ``named`` must be there. Raises CannotStart with ``path:line:col``."""
    if named is not None:
        return read(named)
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config"
    for path in (Path(base) / "agentcom" / "hub.yaml", SYSTEM):
        if path.is_file():
            return read(path)
    return Machine()


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
    )
