"""Whether work may be submitted, from what git shows: every reason at once, each with what to do next.

Pure. It believes no word of an agent, only facts.
"""

from collections.abc import Sequence

from sidecar.gitflow.values import Facts, Refusal

#: So many paths are named in one line.
NAMED = 5
TRY_AGAIN = "`agentcom-git submit` again"


def judge(facts: Facts, *, allow_dirty: bool = False, allow_revert: Sequence[str] = ()) -> tuple[Refusal, ...]:
    """Return why this may not be submitted as it is; nothing when it may.

    ``allow_revert`` are paths that shall go back to what the base had before.
    """
    if facts.under_way:
        return (
            Refusal(
                "under_way",
                f"a {facts.under_way} is under way here: finish it (`git {facts.under_way} --continue`) or give it up "
                f"(`git {facts.under_way} --abort`), then {TRY_AGAIN}",
            ),
        )
    if wrong := _wrong_branch(facts):
        return (wrong,)
    found = [_dirty(facts) if not allow_dirty else None, _no_commits(facts), _moved(facts), _foreign(facts)]
    found.append(_reverted(facts, allow_revert) if not facts.behind else None)
    return tuple(refusal for refusal in found if refusal is not None)


def may_rebase(refusals: Sequence[Refusal]) -> bool:
    """Tell whether putting the commits on the newest base is what is left to be done."""
    return [refusal.code for refusal in refusals] == ["base_moved"]


def conflicts(base: str, paths: Sequence[str], what: str = "submit") -> Refusal:
    """Return the refusal of commits that do not go onto the base by themselves; ``what`` is the command to repeat."""
    return Refusal(
        "conflict",
        f"your commits conflict with {base} in {named(paths)}: everything is as it was before; run "
        f"`git rebase {base}`, solve it by hand, then `agentcom-git {what}` again",
    )


def _wrong_branch(facts: Facts) -> Refusal | None:
    if facts.branch == facts.own_branch:
        return None
    back = f"`git switch {facts.own_branch}`"
    if facts.branch == facts.base:
        text = (
            f"you are on {facts.base}, the base, and nothing is ever submitted from there: {back}, bring commits over "
            f"with `git cherry-pick`, then {TRY_AGAIN}"
        )
        return Refusal("on_base", text)
    if not facts.branch:
        return Refusal(
            "detached",
            f"no branch is checked out (detached HEAD), this task's is {facts.own_branch}: {back}, bring commits over "
            f"with `git cherry-pick`, then {TRY_AGAIN}",
        )
    return Refusal(
        "other_branch",
        f"{facts.branch} is checked out, but this task's branch is {facts.own_branch}: {back}, bring commits over with "
        f"`git cherry-pick`, then {TRY_AGAIN}",
    )


def _dirty(facts: Facts) -> Refusal | None:
    parts = []
    if facts.dirty:
        parts.append(f"changed but not committed: {named(facts.dirty)}")
    if facts.untracked:
        parts.append(f"untracked: {named(facts.untracked)}")
    if not parts:
        return None
    return Refusal(
        "dirty",
        f"{'; '.join(parts)}: commit what belongs to the task (`git add`, `git commit`), remove or ignore the rest, or "
        "leave it out of the submission with --allow-dirty",
    )


def _no_commits(facts: Facts) -> Refusal | None:
    if not facts.ahead:
        return Refusal(
            "no_commits",
            f"{facts.own_branch} has no commit that {facts.base} has not: commit your work (`git add`, `git commit`), "
            f"then {TRY_AGAIN}",
        )
    if not facts.behind and not facts.changes:
        return Refusal(
            "no_changes",
            f"{facts.own_branch} has {count(facts.ahead, 'commit')} but changes no file against {facts.base}: the "
            f"work is there already, or was undone; commit something, or report the task as done without it",
        )
    return None


def _moved(facts: Facts) -> Refusal | None:
    if not facts.behind:
        return None
    return Refusal(
        "base_moved",
        f"{facts.base} has moved on by {count(facts.behind, 'commit')} since your branch was made: "
        "`agentcom-git submit --rebase`, or `agentcom-git sync` to look at it before",
    )


def _foreign(facts: Facts) -> Refusal | None:
    if not facts.foreign:
        return None
    return Refusal(
        "foreign_commits",
        f"{facts.own_branch} on the remote has {count(facts.foreign, 'commit')} that this workplace never had, and "
        f"they are not overwritten: `agentcom-git sync` puts yours on top of them",
    )


def _reverted(facts: Facts, allowed: Sequence[str]) -> Refusal | None:
    paths = [path for path in facts.reverted if path not in allowed]
    if not paths:
        return None
    return Refusal(
        "silent_revert",
        f"your branch takes back what others changed in {facts.base} meanwhile, in {named(paths)}: take theirs with "
        f"`git checkout {facts.base_commit[:12]} -- PATH` (`git rm PATH` if they deleted it) and commit; if the task "
        f"is to undo it, name each file: --allow-revert PATH",
    )


def named(paths: Sequence[str]) -> str:
    """Return the first paths and how many more there are."""
    shown = ", ".join(paths[:NAMED])
    return shown if len(paths) <= NAMED else f"{shown} and {len(paths) - NAMED} more"


def count(number: int, word: str) -> str:
    """Return a number with its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
