"""Processes that belong together: each is started again when it dies, and all end with the one that started them.

What the programs do is not known here, only how they end: some exit codes mean that starting again would not help.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Exit codes that a person has to do something about (DECISIONS 17): used wrongly, no repository, locked, refused,
#: configuration. One that ended well has ended on purpose.
FINAL = frozenset({0, 64, 65, 66, 75, 77, 78})
#: The first pause before a program is started again, doubling up to the second, in seconds.
AGAIN_FIRST_S = 1.0
AGAIN_MOST_S = 30.0
#: A program that lived so long (seconds) begins with the first pause again.
LIVED_WELL_S = 60.0
#: The last lines of a log that are looked at for the reason of an end, in bytes.
_TAIL_BYTES = 4096
#: The longest line that a program may print.
_LINE_BYTES = 1024 * 1024
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Program:
    """One program: its words and place; ``patience`` is how long it may take to stop when asked, in seconds.

    ``heard`` gets every line that it prints; what it says on its standard error goes to its log.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    patience: float = 20.0
    heard: Callable[[str], None] | None = None


class Family:
    """The programs that run now; ``say`` hears in one line what becomes of one. All calls on one loop."""

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._kept: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, tuple[Program, asyncio.subprocess.Process]] = {}

    def log(self, name: str) -> Path:
        """Return where a program's words are kept."""
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int | None:
        """Return the process of a program, None while it does not run."""
        running = self._running.get(name)
        return None if running is None else running[1].pid

    def start(self, program: Program) -> None:
        """Start a program and keep it running."""
        self._kept[program.name] = asyncio.create_task(self._keep(program), name=f"up: {program.name}")

    async def ended(self, name: str) -> None:
        """Wait until a program has ended for good."""
        await asyncio.wait([self._kept[name]])

    async def stop(self, name: str) -> None:
        """Ask a program to end, and make sure that it does."""
        kept, running = self._kept.pop(name, None), self._running.get(name)
        if kept is None:
            return
        if running is None:
            kept.cancel()
        else:
            program, process = running
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            done, _ = await asyncio.wait([kept], timeout=program.patience)
            if not done:
                self._say(f"{name} did not stop in {program.patience:g} s and is killed")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await asyncio.gather(kept, return_exceptions=True)

    async def stop_all(self, *, last: str | None = None) -> None:
        """End everything, all at the same time, but ``last`` after the others."""
        await asyncio.gather(*(self.stop(name) for name in list(self._kept) if name != last))
        if last is not None:
            await self.stop(last)

    async def _keep(self, program: Program) -> None:
        pause = AGAIN_FIRST_S
        while True:
            begin = asyncio.get_running_loop().time()
            code = await self._once(program)
            if program.name not in self._kept:
                return
            reason = self._last_words(program.name)
            how = f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"
            if code in FINAL:
                self._say(f"{program.name} {how} and stays away: {reason}")
                return
            pause = AGAIN_FIRST_S if asyncio.get_running_loop().time() - begin >= LIVED_WELL_S else pause
            self._say(f"{program.name} {how} ({reason}); started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST_S)

    async def _once(self, program: Program) -> int:
        """Run a program to its end; return its exit code, negative for a signal."""
        with self.log(program.name).open("ab", buffering=0) as log:
            pipe = log if program.heard is None else asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                cwd=program.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **program.env},
                start_new_session=True,
                limit=_LINE_BYTES,
                preexec_fn=_end_with(os.getpid()) if sys.platform == "linux" else None,
            )
            self._running[program.name] = (program, process)
            try:
                if process.stdout is not None and program.heard is not None:
                    async for line in process.stdout:
                        program.heard(line.decode(errors="replace").rstrip("\n"))
                return await process.wait()
            finally:
                self._running.pop(program.name, None)

    def _last_words(self, name: str) -> str:
        """Return the last line of a program's log, and where the rest is."""
        path = self.log(name)
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1]}; log: {path}" if lines else f"log: {path}"


def _end_with(parent: int) -> Callable[[], None]:
    """Return what lets a child be asked to stop when its parent is gone, however that came about (Linux)."""
    library = ctypes.CDLL(None)

    def bind() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return bind
