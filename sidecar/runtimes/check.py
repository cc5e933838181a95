"""Checks the presets against the real programs: ``python -m sidecar.runtimes.check [FOLDER]``, also ``make runtimes``.

For each preset with an ``install`` it gets the pinned npm package into FOLDER (default ``.runtimes``), asks its
version, and looks up every flag and every choice that the preset uses in the program's own help. It calls no model.
Exit code 0 when every program that could be had agrees; what could not be had is named and is no failure of a preset.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar.probing import Answer, ask, is_older
from sidecar.runtimes.catalogue import find, presets
from sidecar.runtimes.schema import Definition, Install

#: How long npm may take for one package, in seconds.
INSTALL_WITHIN_S = 600.0
HELP_WITHIN_S = 60.0
HELP_BYTES = 256 * 1024
_FLAG = re.compile(r"--?[a-zA-Z][\w-]*\Z")
_CHOICE = re.compile(r"[A-Za-z][A-Za-z_-]*\Z")


class NotHad(Exception):
    """A program could not be installed here; the message says why."""


def used_flags(definition: Definition) -> list[str]:
    """Return every flag of a preset's command, profiles and options."""
    words = [*(definition.argv or ()), definition.prompt.flag or ""]
    for profile in definition.profiles.values():
        words += profile.argv
    for option in definition.options.values():
        words += option.argv
    return sorted({word for word in words if _FLAG.match(word)})


def used_choices(definition: Definition) -> list[str]:
    """Return the values that the profiles give to flags which take one of a few words."""
    found = set()
    for profile in definition.profiles.values():
        found |= {
            word
            for flag, word in zip(profile.argv, profile.argv[1:], strict=False)
            if _FLAG.match(flag) and _CHOICE.match(word) and "ools" not in flag
        }
    return sorted(found)


def missing(words: Sequence[str], text: str) -> list[str]:
    """Return the words that do not stand in a help text as words of their own."""
    return [word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


def check(definition: Definition, install: Install, cache: Path) -> tuple[str, list[str]]:
    """Return the version of a preset's real program and what is wrong with the preset. Raises NotHad."""
    node = _installed(f"node@{install.node}", cache) / "node_modules" / "node" / "bin" if install.node else None
    folder = _installed(install.npm, cache, node)
    home = cache / "home"
    home.mkdir(exist_ok=True)
    places = [str(folder / "node_modules" / ".bin"), *([str(node)] if node else []), os.environ.get("PATH", "")]
    environment = {"HOME": str(home), "PATH": os.pathsep.join(places), "LANG": "C.UTF-8", "NO_COLOR": "1"}

    def run(argv: Sequence[str]) -> Answer:
        program = shutil.which(argv[0], path=environment["PATH"])
        if program is None:
            raise NotHad(f"{install.npm} brings no {argv[0]}")
        return ask((program, *argv[1:]), environment, HELP_WITHIN_S, most=HELP_BYTES)

    wrong = []
    version = "?"
    if definition.version is not None:
        answer = run(definition.version.argv)
        match = re.search(definition.version.pattern, answer.output)
        if match is None:
            raise NotHad(f"{' '.join(definition.version.argv)} says {answer.output[:200]!r}")
        version = match[1]
        if is_older(version, definition.version.minimum):
            wrong.append(f"version {version} is older than the minimum {definition.version.minimum}")
    text = "\n".join(_help(run, argv) for argv in definition.help)
    wrong += [f"{flag} is in no help" for flag in missing(used_flags(definition), text)]
    wrong += [f"{choice} is no choice in any help" for choice in missing(used_choices(definition), text)]
    return version, wrong


def _help(run: Callable[[Sequence[str]], Answer], argv: Sequence[str]) -> str:
    answer = run(argv)
    if answer.code != 0:
        raise NotHad(f"{' '.join(argv)} exited with {answer.code}: {answer.output[-200:]}")
    return answer.output


def _installed(package: str, cache: Path, node: Path | None = None) -> Path:
    """Return the folder of a pinned npm package, got once. Raises NotHad."""
    folder = (cache / re.sub(r"[^\w.-]+", "-", package).strip("-")).absolute()
    mark = folder / ".complete"
    if mark.exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise NotHad("npm is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    path = os.pathsep.join([*([str(node)] if node else []), os.environ.get("PATH", "")])
    argv = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", package]
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotHad(f"npm install {package} did not end within {INSTALL_WITHIN_S:g} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotHad(f"npm install {package}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    mark.touch()
    return folder


def main(cache: Path) -> int:
    """Check every preset, print one line for each, and return the exit code."""
    cache.mkdir(exist_ok=True)
    failures = 0
    for name in presets():
        definition = find(name, cache)
        if definition is None or definition.install is None:
            continue
        try:
            version, wrong = check(definition, definition.install, cache)
        except NotHad as error:
            print(f"{name}: could not be had: {error}")
            continue
        flags = len(used_flags(definition)) + len(used_choices(definition))
        print(f"{name}: {version}: " + ("; ".join(wrong) if wrong else f"{flags} flags and choices, all in its help"))
        failures += bool(wrong)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".runtimes")))
