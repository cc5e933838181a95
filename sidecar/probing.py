"""Short questions to a runtime's program: its version, whether it is logged in. Synchronous; no task is involved."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.outcome import TAIL_BYTES, clean
from sidecar.runtimes.catalogue import Runtime

#: How long a program may take to tell its version, in seconds.
VERSION_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program answered; ``code`` is None when it could not be started or did not end in time."""

    code: int | None
    output: str


def ask(argv: tuple[str, ...], environment: Mapping[str, str], within: float, most: int = TAIL_BYTES) -> Answer:
    """Run a command with an empty standard input and return its answer, of which the last ``most`` bytes are kept.

    Its group is dead afterwards.
    """
    try:
        process = subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(None, f"{error.filename or argv[0]}: {error.strerror}")
    try:
        output, _ = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        return Answer(None, f"{argv[0]} did not answer within {within:g} s")
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()
    return Answer(process.returncode, clean(output, most))


def login_complaint(runtime: Runtime, environment: Mapping[str, str]) -> str | None:
    """Return what to do before this runtime can work, None when it can, or does not say.

    One that cannot be asked, or does not answer in time, may be slow or gone: its run will tell, which parks nobody for
    a busy machine.
    """
    login = runtime.definition.login
    if login is None or any(environment.get(name) for name in login.unless):
        return None
    argv = runtime.question(login.argv)
    answer = ask(argv, environment, login.timeout)
    if answer.code is None or answer.code in login.ok:
        return None
    return f"{' '.join(argv)}: exited with {answer.code}: {login.say}"


def version_of(runtime: Runtime, environment: Mapping[str, str]) -> tuple[str | None, str]:
    """Return the program's version, None when it does not tell, and what it said."""
    version = runtime.definition.version
    if version is None:
        return None, ""
    answer = ask(runtime.question(version.argv), environment, VERSION_WITHIN_S)
    match = re.search(version.pattern, answer.output) if answer.code == 0 else None
    return (match[1] if match else None), answer.output


def is_older(version: str, minimum: str) -> bool:
    """Compare two versions number by number."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:4])
