"""A real store that writes until it is stopped: a program, run as ``python flusher.py REPOSITORY ENGINE SEED``.

ENGINE is ``pack`` or ``plain``, or ``careless``: the pack engine without any fsync, which must be found out.

Each flush changes 1 to 30 tasks; every fourth observes a commit that a person's git has just made, without any fsync.
When a flush has returned, it prints the new tip and what that must hold: one line ``TIP COUNT``, where COUNT is also
the content of ``status/open/count.yaml``. It ends with the name of the error that stopped it.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

from coordinator.git.journal import GitStore
from coordinator.git.message import compose
from coordinator.git.repo import find_repo
from coordinator.ports import Author, Commit, StoreError

HUB = Author("AgentCom hub", "hub@agentcom.invalid")
COUNT = "status/open/count.yaml"


def commit_of(puts: dict[str, bytes], source: str | None = None) -> Commit:
    """Return a commit as a hub makes it."""
    trailers = [("Agentcom-Epoch", "1/h-aaaaaaaa")]
    if source is not None:
        trailers.append(("Agentcom-Source", source))
    return Commit(compose("t-1: queued", "", trailers), HUB, 1_764_000_000_000, puts, (), source)


def person_commits(place: Path, number: int) -> str:
    """Let a person commit something, of which no branch tells; return its id."""

    def git(*argv: str, data: str = "") -> str:
        done = subprocess.run(["git", *argv], cwd=place, input=data, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    rows = [f"100644 blob {git('hash-object', '-w', '--stdin', data=f'{number} {n}')}\tfile-{n}\n" for n in range(3)]
    return git("commit-tree", "-m", f"edit {number}", git("mktree", data="".join(rows)))


def main() -> None:
    """Write until an error ends it."""
    place, engine, seed = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    chance = random.Random(seed)  # noqa: S311  a seed to tell, no secret
    if engine == "careless":
        os.fsync, engine = (lambda handle: None), "pack"
    store = GitStore(find_repo(place), engine=engine)  # type: ignore[arg-type]
    count = int(store.load().files.get(COUNT, b"0"))
    while True:
        count += 1
        changes = {
            f"status/open/t-{chance.randrange(500)}.yaml": b"%d\n" % count for _ in range(chance.randrange(1, 30))
        }
        commits = [commit_of({path: text}) for path, text in changes.items()]
        if count % 4 == 0:
            commits.insert(0, commit_of({}, person_commits(place, count)))
        commits.append(commit_of({COUNT: b"%d" % count}))
        print(store.flush(tuple(commits)), count, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (StoreError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
