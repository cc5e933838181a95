"""The machine that services run on: looking at it, and carrying a plan out. It decides nothing about units.

Every program is run by an argument list, with a time limit, and nothing of it goes through a shell.

    Failed                      a step did not work; the text names it, what it said, and what to look at
"""

import contextlib
import getpass
import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from coordinator.place import write_whole
from coordinator.services.choice import Machine, places
from coordinator.services.values import Plan, Service, owner_of

#: Where systemd says that it runs the machine (sd_booted(3)).
BOOTED = Path("/run/systemd/system")
#: Where it says who lingers.
LINGER = Path("/var/lib/systemd/linger")
#: How long one program may take, in seconds: a start waits until the service says that it is ready.
PATIENCE = 620.0
#: The same for one that only answers a question.
ANSWER = 10.0

Run = Callable[[Sequence[str]], None]


class Failed(Exception):
    """A step of installing or taking away did not work."""


def look() -> Machine:
    """Return what is known of this machine and of the person who asks."""
    home = Path.home()
    user = _user()
    booted = BOOTED.is_dir() and shutil.which("systemctl") is not None
    return Machine(
        macos=platform.system() == "Darwin",
        systemd=booted,
        user_manager=booted and _succeeds(("systemctl", "--user", "show-environment")),
        lingers=(LINGER / user).exists(),
        launchctl=shutil.which("launchctl") is not None,
        pm2=shutil.which("pm2") is not None,
        user=user,
        uid=os.geteuid(),
        home=home,
        config=Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config"),
    )


def services_of(owner: Path) -> list[Plan]:
    """Return every service of ours that belongs to this path, whatever it is called and whoever runs it.

    What it runs cannot be told from here: the plans are good for looking at it and for taking it away.
    """
    here = look()
    probe = Service("x", "", owner, ("",), owner, "", 0, alone=True)
    found: list[Plan] = []
    for place in places(here, probe):
        before, after = place.file.name.split("x", 1) if place.file.name != "x" else ("", "")
        for file in sorted(place.file.parent.glob(f"{before}*{after}")):
            if owner_at(file) == str(owner):
                name = file.name.removeprefix(before).removesuffix(after)
                found += [one for one in places(here, replace(probe, name=name)) if one.file == file]
    return found


def owner_at(file: Path) -> str | None:
    """Return what the service that a file installs belongs to, None when there is none, or none of ours."""
    try:
        return owner_of(file.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def install(plan: Plan, run: Run) -> bool:
    """Write the file of a service and let its manager start it; return whether anything was done.

    A service that runs as planned is left alone. Raises Failed; what was written stays, and may be tried again.
    """
    there = _text(plan.file)
    if there is not None and owner_of(there) != str(plan.service.owner):
        whose = owner_of(there)
        text = f"is there and belongs to {whose}" if whose else "is there and was not written by agentcom"
        raise Failed(f"{plan.file} {text}: choose another name with --name, or remove it first")
    if there == plan.text and runs(plan):
        return False
    try:
        write_whole(plan.file, plan.text, 0o644)
    except OSError as error:
        raise Failed(f"{plan.file} cannot be written: {error.strerror or error}") from None
    restart(plan, run)
    return True


def restart(plan: Plan, run: Run) -> None:
    """Let the manager start a service, anew if it runs, by the file that is there. Raises Failed."""
    for argv in plan.fresh:
        with contextlib.suppress(Failed):
            run(argv)
    for argv in plan.start:
        try:
            run(argv)
        except Failed as error:
            raise Failed(f"{error}; what it said: `{' '.join(plan.log)}`") from None


def uninstall(plan: Plan, run: Run) -> None:
    """Let the manager stop a service and remove its file. Raises Failed when it would run on."""
    for argv in plan.stop:
        try:
            run(argv)
        except Failed:
            if runs(plan):
                raise
    try:
        plan.file.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(f"{plan.file} cannot be removed: {error.strerror or error}") from None
    for argv in plan.after_removal:
        with contextlib.suppress(Failed):
            run(argv)


def runs(plan: Plan) -> bool:
    """Tell whether the manager says that the service runs."""
    return _succeeds(plan.status)


def said(plan: Plan) -> str:
    """Return what a service said lately, as its manager kept it; empty when that cannot be told."""
    try:
        done = subprocess.run(plan.log, capture_output=True, timeout=ANSWER, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def run_program(argv: Sequence[str]) -> None:
    """Run one program to its end. Raises Failed with what it said."""
    shown = " ".join(argv)
    try:
        done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{shown}` took longer than {PATIENCE:g} s") from None
    except OSError as error:
        raise Failed(f"`{shown}` could not be started: {error.strerror or error}") from None
    if done.returncode:
        text = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "replace")
        raise Failed(f"`{shown}` failed: {'; '.join(text.splitlines()[:3]) or f'exit status {done.returncode}'}")


def owner_of_folder(folder: Path) -> str:
    """Return the name of the user to whom a folder belongs, for a system service that runs as them."""
    uid = folder.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _succeeds(argv: Sequence[str]) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=ANSWER, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror or error}") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
