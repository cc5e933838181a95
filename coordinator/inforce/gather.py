"""All settings in force, section by section, and those of them that somebody asked for."""

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from coordinator.config import Asked, Machine, find, settled
from coordinator.ground import Ground, survey
from coordinator.inforce import hub, repository, sidecars
from coordinator.inforce.rows import Row, Section
from coordinator.sourced import Sourced
from coordinator.trail import CannotStart

#: How much alike a word and a key must be for a suggestion.
_NEAR = 0.75


class NothingLikeIt(Exception):
    """No setting is called so; the text says what was meant."""


def everything(
    asked: Asked, config: Path | None, folders: Sequence[Path], usual: Path, editor: Sourced[str]
) -> list[Section]:
    """Return every section: hub, commands, policy, git, agentcom-git, and one for each sidecar.

    ``folders`` are those of the sidecars to look at; without any, all that are under ``usual`` or belong to
    ``agentcom up`` here. What is wrong in one place is a problem of its section and hides no other.
    """
    wrong: CannotStart | None = None
    try:
        machine = find(config)
    except CannotStart as error:
        machine, wrong = Machine(), error
    said = settled(asked, machine)
    ground: Ground | None = None
    sections: list[Section] = []
    try:
        ground = survey(said.repo.value.absolute(), said.source.value)
    except CannotStart as error:
        sections.append(Section("repository", problems=(str(error),), exit_code=error.exit_code))
    if wrong is None:
        sections.append(hub.hub(said, ground))
    else:
        sections.append(Section("hub", problems=tuple(str(wrong).splitlines()), exit_code=wrong.exit_code))
    sections.append(hub.commands(ground, editor))
    if ground is not None:
        sections += [repository.policy(ground), repository.git(ground), repository.flow(ground, os.environ)]
    files = sidecars.found((usual, *(() if ground is None else (ground.place.folder / "up",))))
    if folders:
        files = [sidecars.file_of(folder) or folder / sidecars.NAMES[0] for folder in folders]
    return [*sections, *map(sidecars.sidecar, files)]


def only(sections: Sequence[Section], words: Iterable[str]) -> list[Section]:
    """Return what the words ask for: sections, settings, or what has a word in its key, else in what it is for.

    Raises NothingLikeIt when a word is about nothing, unless a section could not be read.
    """
    wanted: set[str] = set()
    rows = [row for section in sections for row in section.rows]
    for word in words:
        found = _meant(word.lower(), rows)
        wanted |= found
        broken = [section for section in sections if section.problems and not section.rows]
        if not found and not broken:
            names = [section.name for section in sections]
            steps = {step for row in rows for step in (row.key, *row.key.split("."))}
            near = difflib.get_close_matches(word.lower(), sorted(steps), 1, _NEAR)
            hint = f"did you mean {near[0]}?" if near else f"the sections are {', '.join(names)}"
            if word.lower().startswith(sidecars.SECTION):
                hint = "none of this name was found here: give its folder by --dir"
            raise NothingLikeIt(f"no setting is called {word}; {hint}")
    kept = [replace(section, rows=tuple(row for row in section.rows if row.key in wanted)) for section in sections]
    return [section for section in kept if section.rows or section.problems]


def _meant(word: str, rows: Sequence[Row]) -> set[str]:
    for fits in (_is_below, _is_in_key, _is_in_purpose):
        if found := {row.key for row in rows if fits(word, row)}:
            return found
    return set()


def _is_below(word: str, row: Row) -> bool:
    return row.key.lower() == word or row.key.lower().startswith(f"{word}.")


def _is_in_key(word: str, row: Row) -> bool:
    return word in row.key.lower()


def _is_in_purpose(word: str, row: Row) -> bool:
    return word in re.findall(r"[a-z_]+", row.about.lower())
