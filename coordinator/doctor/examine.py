"""The whole examination, in the order in which one thing stands on the other, and what may be mended without asking.

A look that fails by itself is a finding too: whoever is ill is examined to the end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.doctor import repository, running, surroundings
from coordinator.doctor.findings import Cure, Finding, bad, ok
from coordinator.git.lock import HubLock, RepositoryLocked
from coordinator.git.run import GitError
from coordinator.git.settings import set_up
from coordinator.ground import Ground, survey
from coordinator.ports import SourceUnreadable, StoreError
from coordinator.reading import from_branch
from coordinator.trail import CannotStart


@dataclass(frozen=True, slots=True)
class Report:
    """What was found; ``ground`` is None where there is no usable repository, ``summary`` what the hub said."""

    findings: tuple[Finding, ...]
    ground: Ground | None = None
    summary: Mapping[str, Any] | None = None


def examine(directory: Path, hub: str | None) -> Report:
    """Look at everything around ``directory``; ``hub`` is the address of one that was named."""
    findings = [*_looked("versions", surroundings.versions)]
    try:
        ground = survey(directory)
    except (CannotStart, GitError, OSError) as error:
        findings.append(bad("repo", str(error), "run this in the clone that people write in, or give --repo DIR"))
        return Report(tuple(findings))
    top = ground.repo.work_tree or ground.repo.common_dir
    findings.append(ok("repo", f"{top}{'' if ground.repo.work_tree else ', bare'}"))
    for name, look in (
        ("config", repository.settings),
        ("permissions", surroundings.permissions),
        ("disk", surroundings.disk),
        ("locks", repository.locks),
    ):
        findings += _looked(name, lambda look=look: look(ground))  # type: ignore[misc]
    heard = running.Heard(())
    try:
        heard = running.listen(ground, hub)
    except _TROUBLE as error:
        findings.append(_failed("hub", error))
    findings += heard.findings
    findings += _looked("service", lambda: running.services(ground))
    findings += _looked("remote", lambda: repository.remote(ground))
    findings += _looked("agents", lambda: running.agents(ground, _agents(ground, heard.summary)))
    findings += _looked("size", lambda: repository.health(ground))
    findings += _looked("worktrees", lambda: repository.worktrees(ground))
    return Report(tuple(findings), ground, heard.summary)


#: What a look may meet in a repository or on a machine that is ill.
_TROUBLE = (GitError, StoreError, SourceUnreadable, CannotStart, OSError, ValueError, KeyError)


def _looked(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except _TROUBLE as error:
        yield _failed(name, error)


def _failed(name: str, error: Exception) -> Finding:
    said = str(error) or type(error).__name__
    return bad(name, f"cannot be looked at: {'; '.join(said.splitlines()[:2])}", "see what the others say first")


def _agents(ground: Ground, summary: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """Return the agents as the hub says, else as the branch knows them."""
    return tuple(summary.get("agents", ())) if summary is not None else from_branch(ground).agents


def mend(ground: Ground, findings: Iterable[Finding]) -> Iterator[str]:
    """Do what may be done without asking, each once, and say what was done. Raises OSError, GitError."""
    for cure in dict.fromkeys(finding.cure for finding in findings if finding.cure is not None):
        said = _CURES[cure](ground)
        if said:
            yield said


def _close_secrets(ground: Ground) -> str:
    closed = [path for name in surroundings.SECRETS if (path := ground.place.folder / name).exists()]
    for path in closed:
        path.chmod(0o600)
    return f"readable by their owner alone now (mode 600): {', '.join(map(str, closed))}"


def _forget_dead_hub(ground: Ground) -> str:
    """Forget where the dead hub listened, unless one has come up meanwhile."""
    try:
        with HubLock(ground.repo):
            (ground.place.folder / "hub.json").unlink(missing_ok=True)
    except RepositoryLocked:
        return ""
    return "forgot where the hub that died had listened (hub.json)"


def _set_up_git(ground: Ground) -> str:
    wishes = set_up(ground.repo, ground.place.config_made(), ground.place.note_config)
    return (
        f"set in git config, `agentcom uninstall` takes it back: {', '.join(wishes.missing)}" if wishes.missing else ""
    )


_CURES: Mapping[Cure, Callable[[Ground], str]] = {
    Cure.CLOSE_SECRETS: _close_secrets,
    Cure.FORGET_DEAD_HUB: _forget_dead_hub,
    Cure.SET_UP_GIT: _set_up_git,
}
