"""Disks for tests that need one of their own: a small one to fill, and one whose power can be cut.

Both need a process that may mount; where it may not, the test is skipped and says so. What is mounted is unmounted at
the end, whatever happened; the loop device goes with it.
"""

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

#: ``_IOR('X', 125, __u32)``, and its flag for "the journal is not flushed": what a power cut does to ext4.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


#: What mount says where a process has not the right, or the machine no loop device; anything else is a failure.
_FORBIDDEN = re.compile(r"permission denied|not permitted|superuser|only root|loop device|read-only", re.IGNORECASE)


@contextlib.contextmanager
def small_disk(path: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a disk in memory at ``path``, which is made."""
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield path
    finally:
        _unmount(path)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk while the block runs."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    try:
        yield
    finally:
        filler.unlink()


@dataclass(frozen=True)
class PowerDisk:
    """An ext4 in the file ``image``, mounted at ``path`` with a journal that is written every second."""

    image: Path
    path: Path

    def mount(self) -> None:
        _mount("-o", "loop,commit=1", str(self.image), str(self.path))

    def cut(self) -> None:
        """Cut the power: what is not on the disk by now never will be, and every later write fails."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def restore(self) -> None:
        """Bring the power back; nobody may have a file of the disk open."""
        _unmount(self.path, lazily=False)
        self.mount()


@contextlib.contextmanager
def power_disk(folder: Path, megabytes: int = 128) -> Iterator[PowerDisk]:
    """Make a disk whose power can be cut; skip the test where this machine cannot."""
    disk = PowerDisk(folder / "image", folder / "disk")
    disk.path.mkdir(parents=True)
    with disk.image.open("wb") as file:
        file.truncate(megabytes * 1024 * 1024)
    try:
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(disk.image)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4 here (Debian: apt-get install e2fsprogs)")
    assert made.returncode == 0, made.stderr
    disk.mount()
    try:
        yield disk
    finally:
        _unmount(disk.path)


def _mount(*argv: str) -> None:
    done = subprocess.run(["mount", *argv], capture_output=True, text=True)
    if _FORBIDDEN.search(done.stderr):
        pytest.skip(f"this process may not mount a disk here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def _unmount(path: Path, *, lazily: bool = True) -> None:
    """Unmount; a process that has just been killed may need a moment to let go."""
    end = time.monotonic() + 10
    while (done := subprocess.run(["umount", str(path)], capture_output=True, text=True)).returncode:
        if time.monotonic() < end:
            time.sleep(0.05)
        elif lazily:
            subprocess.run(["umount", "-l", str(path)], check=True)
            return
        else:
            raise AssertionError(done.stderr)
