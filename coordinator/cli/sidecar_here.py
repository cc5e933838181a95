"""The sidecar of one agent on this machine: its config file, its services, and what it has not delivered yet.

It looks, gives the sidecar another token, and lets a service manager start or stop it. It never deletes what a sidecar
wrote. Who may have which token is not known here.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.cli.common import EXIT_CONFIG, EXIT_FAILED, fail

if TYPE_CHECKING:
    from coordinator.services.values import Plan
    from sidecar.config import Config


@dataclass(frozen=True, slots=True)
class SidecarHere:
    """A config file of the agent; ``waiting`` are the tasks whose results the hub has not confirmed."""

    file: Path
    config: "Config"
    services: "tuple[Plan, ...]"
    waiting: tuple[str, ...]

    @property
    def queue(self) -> Path:
        """Where the results stand that are not delivered."""
        return self.config.state_dir / "queue.json"

    @property
    def running(self) -> "list[Plan]":
        """The services of it that run now."""
        from coordinator.services import machine

        return [plan for plan in self.services if machine.runs(plan)]

    def json(self) -> dict[str, Any]:
        """Return what there is to show of it."""
        running = self.running
        return {
            "config": str(self.file),
            "state_dir": str(self.config.state_dir),
            "services": [
                {"name": one.service.name, "file": str(one.file), "running": one in running} for one in self.services
            ],
            "undelivered": list(self.waiting),
        }

    def give(self, token: str) -> None:
        """Write another token into the config file; every other line stays.

        Ends the command with one line when that cannot be.
        """
        from coordinator.files.rewrite import CannotChange, change
        from coordinator.place import write_whole

        try:
            write_whole(self.file, change(self.file.read_bytes(), {"token": token}).decode(), 0o600)
        except CannotChange as error:
            fail(f"{self.file}: {error}", EXIT_CONFIG)
        except OSError as error:
            fail(f"{self.file}: {error.strerror or error}; make room, then run this again", EXIT_FAILED)


def find_sidecar(agent_id: str, folder: Path | None) -> SidecarHere | None:
    """Return the sidecar of an agent here, None when there is none.

    ``folder`` was named by somebody; else it is where ``agent add`` would set it up, or where a service of that agent's
    name says. Ends with one line when a folder was named and holds none, or its config file cannot be read.
    """
    from coordinator.services import machine
    from sidecar.config import ConfigError, load

    file = _file(agent_id, folder)
    if file is None:
        return None
    try:
        config = load(file)
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)
    if config.agent_id != agent_id:
        fail(f"{file} is of agent {config.agent_id}, not {agent_id}: name another --dir", EXIT_CONFIG)
    return SidecarHere(file, config, tuple(machine.services_of(file.resolve())), _waiting(config.state_dir))


def find_services(agent_id: str, *, of: "SidecarHere | None") -> "Sequence[Plan]":
    """Return the services of an agent, also of one whose config file is gone."""
    return of.services if of is not None else [plan for plan, _ in _named(agent_id)]


def _file(agent_id: str, folder: Path | None) -> Path | None:
    from coordinator.cli.joining import usual_folder

    if folder is not None:
        file = folder.absolute() / "config.yaml"
        if not file.exists():
            fail(f"{file} is not there: name the folder of its sidecar with --dir", EXIT_CONFIG)
        return file
    usual = usual_folder(agent_id).absolute() / "config.yaml"
    owners = (Path(owner) for _, owner in _named(agent_id))
    return next((file for file in (usual, *owners) if file.is_file()), None)


def _named(agent_id: str) -> "list[tuple[Plan, str]]":
    """Return the services that bear the name of the agent's, each with the config file that it is of."""
    from coordinator.services import choice, machine, ours

    unit = ours.sidecar(Path("/"), agent_id, 0.0, "")
    places = choice.places(machine.look(), unit)
    return [(plan, owner) for plan in places if (owner := machine.owner_at(plan.file))]


def _waiting(state_dir: Path) -> tuple[str, ...]:
    from sidecar.outbox import QueueUnreadable, decode_queue

    with contextlib.suppress(FileNotFoundError, QueueUnreadable):
        return tuple(parcel.key.task_id for parcel in decode_queue((state_dir / "queue.json").read_bytes()).parcels)
    return ()
