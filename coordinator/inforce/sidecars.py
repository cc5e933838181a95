"""What the sidecars of this machine are told by their config files: the usual ones, those of ``up``, a folder named."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coordinator.inforce.rows import Row, Section, flat, row, secret
from coordinator.sourced import DEFAULT, Sourced
from sidecar import config

#: What their sections begin with.
SECTION = "sidecar"
#: How config files are called: of ``agent add``, of ``up``, of a Node sidecar.
NAMES = ("config.yaml", "sidecar.json", "config.json")
#: Fields of the config that have another name in the file, and what a default is taken from.
_KEYS = {"one_repo": "repo_dir"}
_TAKEN = {"hub_api_url": "from hub_url", "state_dir": "the folder of the file", "results_dir": "in state_dir"}
_EXIT_CONFIG = 78


def found(folders: Iterable[Path]) -> list[Path]:
    """Return the config files of all agents that have a folder of their own in one of these folders."""
    return [file for folder in folders for one in sorted(folder.glob("*")) if (file := file_of(one)) is not None]


def file_of(place: Path) -> Path | None:
    """Return the config file that a file or folder means, None when there is none."""
    if place.is_file():
        return place
    return next((file for name in NAMES if (file := place / name).is_file()), None)


def sidecar(file: Path) -> Section:
    """Return what one sidecar goes by."""
    file = file.absolute()
    try:
        said = config.load(file)
        marks = config.marks(file.read_text(encoding="utf-8"))
    except (config.ConfigError, OSError) as error:
        return Section(f"{SECTION}.{file.parent.name}", problems=(str(error),), exit_code=_EXIT_CONFIG)
    name = f"{SECTION}.{said.agent_id}"

    def origin(key: str) -> str:
        above = next((one for one in said.given if key == one or key.startswith(f"{one}.")), None)
        if above is None:
            return _TAKEN.get(key, DEFAULT)
        line = marks.get(key) or marks.get(above)
        return str(file) if line is None else f"{file}:{line[0]}:{line[1]}"

    rows: list[Row] = [Row(f"{name}.config", str(file), "")]
    for key, value in _settings(said):
        show = secret if key == "token" or key.startswith("runtime.env.") else row
        rows.append(show(f"{name}.{key}", Sourced(value, origin(key))))
    exposed = config.exposed(file)
    return Section(name, tuple(rows), notes=() if exposed is None else (exposed,))


def _settings(said: config.Config) -> Iterable[tuple[str, Any]]:
    """Yield the settings under the names that the file has for them."""
    for key, value in flat(said):
        head = key.partition(".")[0]
        if head == "given" or key == "runtime.definition":
            continue
        if head == "git_warns":
            yield "git_failure", "warn" if value else "fail"
        else:
            yield _KEYS.get(key, key), value
    yield "runtime.name", said.runtime.definition.name  # of runtime.file as well
