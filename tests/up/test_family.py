"""Programs that belong together: they come back when they die, and none is left when their parent is gone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.up import family
from coordinator.up.family import Family, Program

SOON = 20.0


class Told:
    """What was said, to be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(SOON):
            while len(self.lines) < count:
                self._news.clear()
                await self._news.wait()


def python(name: str, code: str, heard: Told, folder: Path, **more: object) -> Program:
    return Program(name, (sys.executable, "-c", code), folder, heard=heard, **more)  # type: ignore[arg-type]


async def test_a_program_that_dies_is_started_again_and_what_it_said_last_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "AGAIN_FIRST_S", 0.01)
    heard, said = Told(), Told()
    kin = Family(tmp_path, said)
    kin.start(
        python("one", "import os,sys; print('here'); sys.stderr.write('no luck\\n'); os._exit(3)", heard, tmp_path)
    )
    await heard.until(3)
    await kin.stop_all()
    assert heard.lines[:3] == ["here"] * 3
    assert said.lines[0].startswith("one ended with 3 (no luck; log: ")


async def test_a_program_that_must_be_helped_by_a_person_stays_away(tmp_path: Path) -> None:
    heard, said = Told(), Told()
    kin = Family(tmp_path, said)
    kin.start(
        python(
            "one",
            "import sys; print('here', flush=True); sys.exit('token refused') if 0 else sys.exit(77)",
            heard,
            tmp_path,
        )
    )
    await kin.ended("one")
    assert heard.lines == ["here"]
    assert said.lines[0].startswith("one ended with 77 and stays away: log: ")
    await kin.stop_all()


async def test_all_are_asked_to_stop_and_one_that_does_not_is_killed(tmp_path: Path) -> None:
    heard, said = Told(), Told()
    kin = Family(tmp_path, said)
    deaf = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    kind = (
        "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(0)); print('kind', flush=True); time.sleep(600)"
    )
    kin.start(python("deaf", deaf, heard, tmp_path, patience=0.2))
    kin.start(python("kind", kind, heard, tmp_path))
    await heard.until(2)
    await kin.stop_all(last="kind")
    assert said.lines == ["deaf did not stop in 0.2 s and is killed"]
    assert (kin.pid("deaf"), kin.pid("kind")) == (None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
async def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import asyncio
from pathlib import Path
from coordinator.up.family import Family, Program
async def main():
    kin = Family(Path({str(tmp_path)!r}), print)
    kin.start(Program("child", ("sleep", "600"), Path("/")))
    while kin.pid("child") is None:
        await asyncio.sleep(0.01)
    print(kin.pid("child"), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)  # noqa: ASYNC220 - it is killed
    assert parent.stdout is not None
    with parent.stdout:
        child = int(await asyncio.to_thread(parent.stdout.readline))
        handle = os.pidfd_open(child)
        try:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            gone = asyncio.Event()
            asyncio.get_running_loop().add_reader(handle, gone.set)
            await asyncio.wait_for(gone.wait(), SOON)
        finally:
            os.close(handle)
