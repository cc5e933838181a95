"""Where a command finds its task and its workplace.

A task comes from a file, from the sidecar's packet, or from the hub's branch in this clone, in that order. A workplace
is told by the configuration of the work tree that the command was called in.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from coordinator.git.run import GitError
from sidecar.gitflow import records, tasks
from sidecar.gitflow.records import Record
from sidecar.gitflow.repository import Repository, base_name, find
from sidecar.gitflow.values import ID, FlowError, Misconfigured, Misused, NoWorkplace, Report, Task

TASK_FILE = "AGENTCOM_TASK_FILE"
#: Where the result of an attempt is written; it says what a pull request needs.
RESULT_FILE = "AGENTCOM_RESULT_FILE"


def task(repo: Repository, task_id: str, file: str) -> Task:
    """Return the task to be started; ``file`` is a path, ``-`` for standard input, "" for wherever it is found.

    Raises Misused.
    """
    if task_id and not ID.fullmatch(task_id):
        raise Misused(
            f"{task_id!r} is no id of a task (a-z, 0-9 and -, at most 64 characters): see `agentcom task list`"
        )
    found = _given(repo.environment, file)
    if found is not None and task_id and found.id != task_id:
        if file:
            raise Misused(f"{file} holds task {found.id}, not {task_id}: give the right file, or leave the id out")
        found = None  # the packet of another task: somebody starts one by hand
    if found is None and not task_id:
        raise Misused("which task? `agentcom-git start-task ID`, or --task FILE with its JSON")
    return found or _on_state_branch(repo, task_id)


def agent(repo: Repository, wanted: str = "") -> str:
    """Return the id of the agent that works here. Raises Misconfigured."""
    name = wanted or repo.settings.agent
    if not name:
        raise Misconfigured(
            "which agent? --agent ID, or AGENTCOM_AGENT in the environment, or `git config agentcom-git.agent ID`"
        )
    if not ID.fullmatch(name):
        raise Misconfigured(f"agent {name!r} is no id: a-z, 0-9 and -, at most 64 characters")
    return name


def workplace(directory: Path, environment: Mapping[str, str] | None = None) -> tuple[Repository, Record]:
    """Return the repository and what is remembered of the task whose work tree this is. Raises NoWorkplace."""
    repo = find(directory, environment)
    settings = repo.settings
    if not settings.task or not settings.branch or not settings.owner:
        known = records.every(repo)
        where = f": go into {known[0].worktree}" if len(known) == 1 else ": `agentcom-git status --all` lists them"
        raise NoWorkplace(
            f"{repo.top} is not the work tree of a task"
            + (where if known else ": make one with `agentcom-git start-task ID`")
        )
    record = records.read(repo, settings.owner, settings.task)
    if record is None or record.branch != settings.branch:
        remote = repo.remote()
        base = base_name(repo, settings.base)
        record = Record(settings.owner, settings.task, settings.branch, str(repo.top), base, remote, ready=True)
    return repo, record


def remembered(record: Record) -> Task:
    """Return the task as it was when it was started."""
    try:
        raw = json.loads(record.spec)
        return Task(**{**raw, "acceptance": tuple(raw["acceptance"])})
    except (ValueError, TypeError, KeyError):
        return Task(record.task_id)


def as_spec(one: Task) -> str:
    """Return a task as it is remembered."""
    return json.dumps(asdict(one), ensure_ascii=False)


def result(environment: Mapping[str, str]) -> Report:
    """Return what the agent has said in the result of its attempt, empty where it has said nothing."""
    try:
        data = Path(environment.get(RESULT_FILE) or os.devnull).read_bytes()[: tasks.MOST_BYTES]
        raw = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return Report()
    return tasks.report(raw)


def text_of(file: str, what: str) -> str:
    """Return the text of a file, ``-`` for standard input. Raises Misused."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(tasks.MOST_BYTES).decode("utf-8", "replace")
        with Path(file).open("rb") as stream:
            return stream.read(tasks.MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise Misused(f"{what} {file}: {error.strerror}: name a file that can be read") from None


def _given(environment: Mapping[str, str], file: str) -> Task | None:
    if file:
        return tasks.from_json(text_of(file, "--task"), "standard input" if file == "-" else file)
    packet = environment.get(TASK_FILE, "")
    beside = Path(packet).with_name("task.json") if packet else None
    if beside is None or not beside.is_file():
        return None
    return tasks.from_json(text_of(str(beside), TASK_FILE), str(beside))


def _on_state_branch(repo: Repository, task_id: str) -> Task:
    refs = _state_refs(repo)
    for ref in refs:
        config, *_ = _files(repo, ref, ["agentcom.yaml"])
        for root in dict.fromkeys(("", _root(config))):
            paths = [f"{root}{folder}/{task_id}.yaml" for folder in (*tasks.SPEC_FOLDERS, "status/open")]
            *specs, status = _files(repo, ref, paths)
            for path, spec in zip(paths, specs, strict=False):
                if spec is not None:
                    return tasks.from_state(task_id, spec, status, f"{path} on {ref}")
    where = f"on {', '.join(refs)}" if refs else "in this clone, which has no branch agentcom/state (`git fetch` it)"
    raise Misused(
        f"there is no task {task_id} {where}: see `agentcom task list`, or give the task itself: --task FILE, e.g. "
        f'echo \'{{"task_id": "{task_id}", "title": "..."}}\' | agentcom-git start-task --task -'
    )


def closed(repo: Repository, task_ids: Sequence[str]) -> frozenset[str]:
    """Return which of these tasks are over, as far as the hub's branch in this clone says."""
    wanted = frozenset(task_ids)
    over, still = set[str](), set[str]()
    for ref in _state_refs(repo) if wanted else ():
        root = _root(_files(repo, ref, ["agentcom.yaml"])[0])
        folders = (f"{root}status/open/", f"{root}status/closed/")
        names = repo.git("ls-tree", "-r", "-z", "--name-only", ref, "--", *folders, at=repo.common_dir).split("\0")
        still |= {Path(name).stem for name in names if name.startswith(folders[0])}
        over |= {Path(name).stem for name in names if name.startswith(folders[1])}
    return frozenset((over - still) & wanted)


def _state_refs(repo: Repository) -> list[str]:
    out = repo.git(
        *("for-each-ref", "--format=%(refname)", "refs/heads/agentcom/state", "refs/remotes/*/agentcom/state"),
        at=repo.common_dir,
    )
    return out.split()


def _root(config: bytes | None) -> str:
    """Return the folder that the hub's files lie in, "" for the top."""
    import re

    match = re.search(rb"^root:[ \t]*([\w./-]+)", config or b"", re.MULTILINE)
    root = match[1].decode().strip("/") if match else "."
    return "" if root in (".", "") else f"{root.removeprefix('./')}/"


def _files(repo: Repository, ref: str, paths: list[str]) -> list[bytes | None]:
    """Return the contents of files at a ref, None for each that is not there. Raises FlowError."""
    from coordinator.git.run import git

    names = "".join(f"{ref}:{path}\n" for path in paths)
    try:
        out = git("cat-file", "--batch", git_dir=repo.common_dir, input=names.encode())
    except GitError as error:
        raise FlowError(f"{ref} cannot be read: {error.stderr}") from None
    found: list[bytes | None] = []
    at = 0
    for _ in paths:
        head, _, _ = out[at:].partition(b"\n")
        at += len(head) + 1
        words = head.split()
        if words[-1] == b"missing" or len(words) != 3:
            found.append(None)
            continue
        size = int(words[2])
        found.append(out[at : at + size] if words[1] == b"blob" else None)
        at += size + 1
    return found
