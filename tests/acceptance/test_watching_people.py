"""``agentcom watch`` beside a real hub: save a line, make coffee, find the work done and the story in ``git log``."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.demo.run import ENDED, follow
from coordinator.demo.stage import LOOK_EVERY, Stage
from coordinator.git.run import git

pytestmark = pytest.mark.slow

BACKLOG = "# Backlog\n\n## Ready\n\n- [ ] Write the number 1 to test-output-1.txt\n"
WITHIN = 60.0


class Watcher:
    """A real ``agentcom watch`` whose output can be waited for."""

    def __init__(self, stage: Stage, output: int, *words: str) -> None:
        argv = [sys.executable, "-m", "coordinator", "watch", *words]
        self._log = stage.folder / "logs/watch.log"
        self.process = subprocess.Popen(
            argv, cwd=stage.repo, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, words: str, count: int = 1) -> None:
        end = time.monotonic() + WITHIN
        while self.log().count(words) < count:
            assert time.monotonic() < end, self.log()
            assert self.process.poll() is None, self.log()
            time.sleep(LOOK_EVERY)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(WITHIN)


@pytest.fixture
def start() -> Iterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def begin(stage: Stage, *words: str) -> Watcher:
        with (stage.folder / "logs/watch.log").open("ab") as output:
            watchers.append(Watcher(stage, output.fileno(), *words))
        watchers[-1].wait_for("Ctrl-C ends it")
        return watchers[-1]

    yield begin
    for watcher in watchers:
        if watcher.process.poll() is None:
            watcher.process.kill()
            watcher.process.wait()


def by_rename(path: Path, text: str) -> None:
    """Save as vim and many others do: a new file in the place of the old one, which is kept for a moment."""
    swap, backup = path.with_name(f".{path.name}.swp"), path.with_name(f"{path.name}~")
    swap.write_bytes(b"b0VIM")
    path.rename(backup)
    path.write_text(text, encoding="utf-8")
    backup.unlink()
    swap.unlink()


def in_place(path: Path, text: str) -> None:
    """Save as small editors do: truncate, then write piece by piece."""
    with path.open("w", encoding="utf-8") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def over(path: Path, text: str) -> None:
    """Save as careful editors do: a temporary file moved over the old one."""
    temporary = path.with_name(f"{path.name}.tmp.123")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def subjects(stage: Stage) -> list[str]:
    return git("log", "--format=%s", cwd=stage.repo).decode().splitlines()


def test_a_line_that_is_saved_ends_as_finished_work_in_git_log_without_another_command(make_stage, start) -> None:
    stage = make_stage(2)
    watcher = start(stage, "--commit", "--settle", "1")
    backlog = stage.repo / "BACKLOG.md"
    for number, save in enumerate((by_rename, in_place, over), 1):
        lines = [f"- [ ] Write the number {n} to test-output-{n}.txt\n" for n in range(1, number + 1)]
        save(backlog, "# Backlog\n\n## Ready\n\n" + "".join(lines))
        watcher.wait_for(": Backlog: 1 new", number)
    tasks = follow(stage, 3, lambda seen: len([task for task in seen if task["status"] in ENDED]) == 3)
    assert [task["status"] for task in tasks] == ["done"] * 3
    watcher.wait_for("-> done (mind-", 1)
    end = time.monotonic() + WITHIN
    while len([line for line in subjects(stage) if "working -> done" in line]) < 3:
        assert time.monotonic() < end, watcher.log()
        time.sleep(LOOK_EVERY)
    assert watcher.end() == 0
    assert subjects(stage).count("Backlog: 1 new") == 3
    assert git("status", "--porcelain", cwd=stage.repo) == b""
    assert len(list(stage.repo.glob("status/closed/*/*/*/*.spec.yaml"))) == 3
    assert set(stage.ends().values()) == {1}
    assert "Traceback" not in watcher.log()


def test_a_mistake_waits_until_it_is_mended_while_the_rest_is_worked_on(make_stage, start) -> None:
    stage = make_stage(1)
    watcher = start(stage, "--commit", "--settle", "1")
    (stage.repo / "tasks/t-own.yaml").write_text("title: Own\nretries: 3\n", encoding="utf-8")
    over(stage.repo / "BACKLOG.md", BACKLOG)
    watcher.wait_for("tasks/t-own.yaml is not committed until it is mended")
    assert "tasks/t-own.yaml:2:1: retries: " in watcher.log()
    watcher.wait_for(": Backlog: 1 new")
    follow(stage, 1, lambda seen: len([task for task in seen if task["status"] in ENDED]) == 1)
    over(stage.repo / "tasks/t-own.yaml", "title: Own\nmax_retries: 3\n")
    watcher.wait_for(": Task t-own: new")
    follow(stage, 2, lambda seen: len([task for task in seen if task["status"] in ENDED]) == 2)
    assert watcher.end(signal.SIGTERM) == 0


def test_folders_that_are_deleted_and_made_again_are_still_watched(make_stage, start) -> None:
    stage = make_stage(0)
    watcher = start(stage, "--commit", "--settle", "0.6")
    tasks = stage.repo / "tasks"
    for number in (1, 2):
        kept = {path: path.read_bytes() for path in tasks.iterdir() if path.is_file()}
        for path in kept:
            path.unlink()
        moved = stage.folder / f"moved-{number}"
        tasks.rename(moved)
        tasks.mkdir()
        for path, data in kept.items():
            path.write_bytes(data)
        in_place(tasks / f"t-{number}.yaml", "title: x\n")
        watcher.wait_for(f"Task t-{number}: new")
    assert watcher.end() == 0


def test_on_a_terminal_it_counts_down_in_one_line_and_ends_cleanly(make_stage) -> None:
    stage = make_stage(0)
    here, there = pty.openpty()
    watcher = Watcher(stage, there, "--commit", "--settle", "600")
    os.close(there)
    seen = b""

    def read_until(words: bytes) -> None:
        nonlocal seen
        while words not in seen:
            seen += os.read(here, 4096)

    read_until(b"Ctrl-C ends it")
    over(stage.repo / "BACKLOG.md", BACKLOG)
    read_until(b"\rcommitting BACKLOG.md in 59")
    second = seen.count(b"\rcommitting")
    while seen.count(b"\rcommitting") == second:
        seen += os.read(here, 4096)
    watcher.process.send_signal(signal.SIGINT)
    read_until(b"stopped before it was committed: BACKLOG.md")
    assert watcher.process.wait(WITHIN) == 0
    os.close(here)
    assert b"\x1b[K" in seen
    assert "Backlog" not in "".join(subjects(stage))
