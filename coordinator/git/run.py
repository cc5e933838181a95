"""Run the git program: arguments in, bytes out, nothing of the surroundings let through.

This module decides under which environment and options git runs and what happens when it is slow or fails. It knows no
repository, no branch and no AgentCom; it needs the standard library only, because the sidecar uses it as well.

Arguments are lists, never a shell line. Text that came from people or agents stands behind ``--`` or
``--end-of-options``, or goes in through ``input``; the caller sees to that.

    GitError                    git said no, could not be started, or took too long; ``stderr`` is in git's own words
"""

import functools
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

#: How long one git command may take unless the caller says otherwise, in seconds.
DEFAULT_TIMEOUT_S = 60.0

#: How much of git's complaint goes into the text of an error, in characters.
_STDERR_SHOWN = 2000

#: Options of every command of the hub: nothing of a person's set-up may run a program, ask a question or change output.
FIXED_OPTIONS: tuple[str, ...] = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.filesRefLockTimeout=1000",
    "core.packedRefsTimeout=1000",
    "log.showSignature=false",
    "log.mailmap=false",
    "log.follow=false",
    "log.showRoot=true",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    "trailer.separators=:",
    "color.ui=never",
    "diff.renames=false",
)

#: Variables of git's own that may come from outside: where configuration and transport live, never which repository.
_KEPT = frozenset(
    {
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CEILING_DIRECTORIES",
        "GIT_EXEC_PATH",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_NO_VERIFY",
    }
)

#: Configuration by variables, which is how a container says what is a safe.directory; ours on the command line wins.
_CONFIGURES = re.compile(r"GIT_CONFIG_(?:COUNT|(?:KEY|VALUE)_\d+)")

#: What a person's own commit may also take from the environment: who they are.
_PERSONAL = frozenset(
    {
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_AUTHOR_DATE",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
        "GIT_COMMITTER_DATE",
        "GIT_ASKPASS",
    }
)


class GitError(Exception):
    """A git command failed.

    ``argv`` is what was asked (without the fixed options), ``code`` the exit status (None: it ran out of time or could
    not be started), ``stderr`` what git said, ``pid`` the process that said it (0: none was started), ``stdout`` what
    it printed.
    """

    def __init__(self, argv: Sequence[str], code: int | None, stderr: str, pid: int = 0, stdout: bytes = b"") -> None:
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr.strip()
        self.pid = pid
        self.stdout = stdout
        super().__init__(f"git {' '.join(self.argv)}: {self.stderr[-_STDERR_SHOWN:] or f'exit status {code}'}")


class Leash:
    """Holds the git commands of one thread, so that another one can end them; pulled, it lets none start any more.

    ``last``: they run behind everything that wants processor or disk.
    """

    def __init__(self, *, last: bool = False) -> None:
        self.last = last
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.pulled = False

    def pull(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to what runs and everything that it started: at SIGTERM git takes its locks away.

        Whoever waits for the command gets a GitError when it has ended.
        """
        with self._lock:
            self.pulled = True
            for process in self._running:
                _signal_group(process, how)

    def put_on(self, process: subprocess.Popen[bytes]) -> None:
        """Hold a process that was just started; with the leash pulled it is ended."""
        with self._lock:
            self._running.add(process)
            if self.pulled:
                _signal_group(process, signal.SIGTERM)

    def take_off(self, process: subprocess.Popen[bytes]) -> None:
        """Let go of a process that has ended."""
        with self._lock:
            self._running.discard(process)


def git(
    *argv: str,
    cwd: Path | None = None,
    git_dir: Path | None = None,
    input: bytes | None = None,
    timeout: float = DEFAULT_TIMEOUT_S,
    config: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    check: bool = True,
    pass_fds: Sequence[int] = (),
    leash: Leash | None = None,
) -> bytes:
    """Run one git command the hub's way and return its standard output.

    ``git_dir`` names the repository without looking for it (and without a work tree, so that paths always count from
    its top: git then runs in /); ``cwd`` lets git find it.
    ``config`` are further ``key=value`` options, ``env`` further variables, ``timeout`` is in seconds, ``pass_fds`` are
    open files (locks) that git keeps open as long as it runs. With ``check`` false a failing command returns what it
    printed. With a ``leash`` another thread may end it. Raises GitError; a command out of time is killed with
    everything it started.
    """
    options = [item for option in (*FIXED_OPTIONS, *config) for item in ("-c", option)]
    place = [] if git_dir is None else [f"--git-dir={git_dir.absolute()}"]
    if git_dir is not None and cwd is None:
        cwd = Path("/")  # where this process stands may be a folder of git_dir's work tree: paths would count from it
    command = [*(_last_in_line() if leash is not None and leash.last else ()), "git", *options, *place, *argv]
    return _run(command, argv, cwd, input, timeout, hub_env(env), check, pass_fds, leash)


def git_as_person(
    *argv: str,
    cwd: Path,
    input: bytes | None = None,
    timeout: float = 10 * DEFAULT_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> bytes:
    """Run one git command as the person at the keyboard would: their identity, hooks and signing apply.

    Only variables that would point it at another repository or index are removed, also for hooks, and it keeps the
    terminal, where a key may have to be unlocked. Paths that are patterns for git need ``literally``. Raises GitError.
    """
    return _run(["git", *argv], argv, cwd, input, timeout, person_env(env), check, terminal=True)


def literally(path: str) -> str:
    """Return a path of the repository as a pathspec that means this path alone, wherever git runs."""
    return f":(top,literal){path}"


def hub_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of the hub's git commands: no prompts, no locks on looking, English."""
    env = _surroundings(_KEPT)
    env.update(
        LC_ALL="C",
        GIT_TERMINAL_PROMPT="0",
        GIT_OPTIONAL_LOCKS="0",
        GIT_NO_REPLACE_OBJECTS="1",
        GIT_LITERAL_PATHSPECS="1",
        GIT_PROTOCOL_FROM_USER="0",
        GIT_ASKPASS="",
        SSH_ASKPASS="",
        GIT_EDITOR=":",
        GIT_PAGER="cat",
    )
    env.update(extra or {})
    return env


def person_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a person's git command: their own, but bound to no other repository or index."""
    return {**_surroundings(_KEPT | _PERSONAL), **(extra or {})}


def _surroundings(kept: frozenset[str]) -> dict[str, str]:
    """Return the environment of this process, of git's own variables only those kept and configuration by variables."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or key in kept or _CONFIGURES.fullmatch(key)
    }


def _run(
    command: list[str],
    argv: Sequence[str],
    cwd: Path | None,
    data: bytes | None,
    timeout: float,
    env: dict[str, str],
    check: bool,
    pass_fds: Sequence[int] = (),
    leash: Leash | None = None,
    *,
    terminal: bool = False,
) -> bytes:
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            start_new_session=not terminal,  # a group of its own to kill, and no terminal on which ssh could ask
        )
    except FileNotFoundError as error:
        missing = (
            f"directory {cwd} does not exist" if cwd and not cwd.is_dir() else "git is not installed or not on PATH"
        )
        raise GitError(argv, None, missing) from error
    except OSError as error:
        raise GitError(argv, None, f"could not be started: {error}") from error
    with process:
        try:
            if leash is not None:
                leash.put_on(process)
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired as error:
            _kill(process, group=not terminal)
            raise GitError(argv, None, f"took longer than {timeout:g} s and was stopped", process.pid) from error
        except BaseException:
            _kill(process, group=not terminal)
            raise
        finally:
            if leash is not None:
                leash.take_off(process)
    if check and process.returncode:
        said = err if err.strip() else out[-_STDERR_SHOWN:]  # fsck says on its standard output what is missing
        raise GitError(argv, process.returncode, said.decode("utf-8", "replace"), process.pid, out)
    return out


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Kill git, and with its ``group`` everything it started, so that no pipe of theirs is left open."""
    if group:
        _signal_group(process, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        process.send_signal(how)


@functools.cache
def _last_in_line() -> tuple[str, ...]:
    """Return the words before a command that let it run behind all others, as far as this machine has them."""
    import shutil

    nice, ionice, true = (shutil.which(name) for name in ("nice", "ionice", "true"))
    words = () if nice is None else (nice, "-n", "19")
    if ionice and true and subprocess.run((ionice, "-c", "3", true), capture_output=True, check=False).returncode == 0:
        words = (*words, ionice, "-c", "3")
    return words
