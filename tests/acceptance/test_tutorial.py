"""docs/tutorial.md, followed word for word: every command of the page is run, in its order, and says what is shown.

The page for one laptop is followed too, with the scripted agent. The tutorial is data. A block ``sh first terminal`` is
the one ``agentcom up``; other ``sh`` blocks run in the second terminal; a ``text`` block is what the block before it
printed, a ``text first terminal`` block holds lines that come there next.
"""

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repo import git_env

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SOON = 60.0
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What differs from run to run, and what stands for it.
_VARYING = (
    (re.compile(r"^\d\d:\d\d:\d\d "), ""),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\b(committed|TIME ) ?[0-9a-f]{8}\b"), r"\1 COMMIT"),
    (re.compile(r"\bmerged as [0-9a-f]{10}\b"), "merged as COMMIT"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HUB"),
)


def blocks(page: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in _FENCE.finditer((ROOT / page).read_text(encoding="utf-8"))]


def same(text: str, place: Path) -> str:
    """Return a line, or lines, without what differs from run to run."""
    lines = []
    for line in text.replace(str(place), "/srv/tutorial").splitlines():
        for pattern, stands_for in _VARYING:
            line = pattern.sub(stands_for, line)
        lines.append(line.rstrip())
    return "\n".join(lines)


class Reader:
    """Somebody at two terminals, in a folder that was empty."""

    def __init__(self, place: Path) -> None:
        self.place = self.here = place
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**git_env(), "PATH": path, "PYTHONUNBUFFERED": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{who}_NAME": "Ada", f"GIT_{who}_EMAIL": "ada@example.org"}
        self.up: subprocess.Popen[str] | None = None
        self.seen: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()

    def start(self, command: str, *options: str) -> None:
        """Run the one line of the first terminal, on a port that is surely free."""
        argv = [*shlex.split(command), "--port", "0", *options]
        self.up = subprocess.Popen(
            argv, cwd=self.here, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, args=(self.up,), daemon=True).start()

    def _read(self, up: "subprocess.Popen[str]") -> None:
        assert up.stdout is not None
        for line in up.stdout:
            self._new.put(same(line, self.place))
        self._new.put(None)

    def sees(self, wanted: str) -> None:
        """Wait until the first terminal has shown this line, after those that were waited for before."""
        while True:
            try:
                line = self._new.get(timeout=SOON)
            except queue.Empty:
                line = None
            assert line is not None, "\n".join([f"it never said: {wanted}", *self.seen])
            self.seen.append(line)
            if line == wanted:
                return

    def types(self, commands: str) -> str:
        """Run a block in the second terminal; return what it printed."""
        script = f"set -e\n{commands}\npwd >&3\n"
        where = self.place / ".where"
        with where.open("w") as third:
            done = subprocess.run(
                ["bash", "-c", f"exec 3>&{third.fileno()}\n{script}"],
                cwd=self.here,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=(third.fileno(),),
                timeout=SOON,
            )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        self.here = Path(where.read_text().strip())
        return done.stdout

    def ends(self) -> int:
        """Press Ctrl-C in the first terminal."""
        assert self.up is not None
        self.up.send_signal(signal.SIGINT)
        return self.up.wait(SOON)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    place = tmp_path / "tutorial"
    place.mkdir()
    one = Reader(place)
    yield one
    if one.up is not None:
        if one.up.poll() is None:
            one.up.terminate()
            one.up.wait(SOON)
        assert one.up.stdout is not None
        one.up.stdout.close()


def test_whoever_follows_the_tutorial_sees_what_it_shows(reader: Reader) -> None:
    page = blocks("docs/tutorial.md")
    assert page[-1][0] == "text first terminal", "the last thing to see is the end of `agentcom up`"
    printed = ""
    for place, (info, text) in enumerate(page, 1):
        match info:
            case "sh first terminal":
                reader.start(text)
            case "sh":
                printed = reader.types(text)
            case "text":
                assert same(printed, reader.place) == same(text, reader.place)
            case "text first terminal":
                if place == len(page):
                    assert reader.ends() == 0
                for line in same(text, reader.place).splitlines():
                    reader.sees(line)
            case _:
                raise AssertionError(f"a block of a kind that nobody follows: {info}")


def test_the_page_for_one_laptop_leads_from_a_project_to_merged_work(reader: Reader) -> None:
    (_, start), (_, add), (_, take) = blocks("docs/how-to/one-laptop.md")
    there, up = start.splitlines()
    subprocess.run(["git", "init", "-q", "-b", "main", "my-project"], cwd=reader.place, env=reader.env, check=True)
    reader.types(there)
    reader.start(up, "--runtime", "fake")
    reader.sees("fake is ready (fake, dev)")
    reader.types(add)
    branch = take.split()[-1]
    title = shlex.split(add)[-1]
    task = "-".join(branch.partition("/")[2].split("-")[:2])
    reader.sees(f"{task}: working -> in_review (fake): {title}")
    reader.sees(f"-> take the result: git -C /srv/tutorial/my-project merge --no-ff {branch}")
    reader.types(take)
    reader.sees(f"{task}: in_review -> done (Ada): {title}")
    assert "in_review -> done" in reader.types(f"agentcom log {task}").splitlines()[0]
    assert reader.ends() == 0
    reader.sees("1 done, 0 failed")
