"""The sidecar's config file: YAML or JSON in, one checked ``Config`` out, or one line that says what to do.

It reads the file and nothing else: no network, no runtime is looked for. Relative paths are relative to the file. What
the file says stands in ``Config.given``; whoever wants to know where looks for it in ``marks``.
"""

import difflib
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from sidecar.runtimes.catalogue import FAKE_MODES, Definition, Runtime, RuntimeFileError, find, known, unknown_variables
from sidecar.runtimes.schema import PROFILES, seconds
from sidecar.runtimes.schema import load as load_runtime

_AGENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_KEYS = (
    "agent_id token name repo_dir hub_url hub_api_url capabilities state_dir results_dir log_file "
    "reconnect_max resend_every progress_every stop_grace kill_grace runtime repos git_failure"
).split()
#: Keys of the Node sidecar's config.json that mean nothing here; they are no mistake.
_OLD_KEYS = frozenset({"reviewer", "confirmation_timeout_ms", "wake_command"})
_RUNTIME_KEYS = "name file program argv args options cwd env timeout profile check_login script".split()
_WS_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class ConfigError(Exception):
    """The author of the config file must change it; the message is one line: file, key, what, what to do."""


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How the agent is run; ``timeout`` in seconds, None leaves it to the hub."""

    definition: Definition
    argv: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    profile: str = "dev"
    check_login: bool = True
    script: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """One sidecar; paths are absolute, durations are seconds. The token never shows in a repr.

    ``given`` are the keys that the file has a word for (``runtime.profile``); the rest are defaults.
    """

    agent_id: str
    token: str = field(repr=False)
    hub_url: str
    hub_api_url: str
    runtime: RuntimeConfig
    state_dir: Path
    results_dir: Path
    name: str | None = None
    capabilities: tuple[str, ...] = ()
    log_file: Path | None = None
    reconnect_max: float = 60.0
    resend_every: float = 30.0
    progress_every: float = 60.0
    stop_grace: float = 10.0
    kill_grace: float = 5.0
    repos: Mapping[str, Path] = field(default_factory=dict)
    one_repo: Path | None = None
    git_warns: bool = False
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


def runtime_of(config: Config) -> Runtime:
    """Return the configured runtime, ready to be asked for command lines."""
    one = config.runtime
    return Runtime(
        one.definition,
        one.argv,
        one.script,
        journal=config.state_dir / "fake-script.log",
        profile=one.profile,
        program=one.program,
        args=one.args,
        options=one.options,
    )


def missing_program(config: Config) -> str | None:
    """Return a line when the runtime's program is not there: every task would fail on it, and park the agent."""
    one = config.runtime
    argv = one.program or one.definition.argv or one.argv
    key = "runtime.argv" if one.definition.argv is None else "runtime.program"
    if not argv or argv[0].startswith("$") or shutil.which(argv[0], path=one.env.get("PATH")) is not None:
        return None
    if "/" not in argv[0]:
        install = one.definition.install
        how = f"install it (npm install -g {install.npm})" if install else "install it"
        return f"{key}: {argv[0]} is not on PATH; {how}, or write its path"
    if Path(argv[0]).exists():
        return f"{key}: {argv[0]} is not executable: chmod +x {argv[0]}"
    return f"{key}: {argv[0]} does not exist; correct the path, it counts from the config file's folder"


def exposed(path: Path) -> str | None:
    """Return a line when others on this machine can read the token in a config file, None when they cannot."""
    mode = path.stat().st_mode
    if mode & 0o077 == 0:
        return None
    return f"{path} holds a token and can be read by others (mode {mode & 0o777:o}): chmod 600 {path}"


def load(path: Path) -> Config:
    """Read one config file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {reason}; name the right file with --config") from error
    return _Reader(path, text).config()


def marks(text: str) -> dict[str, tuple[int, int]]:
    """Return line and column of each key's value, as ``runtime.profile``; nothing where that cannot be told."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):  # a JSON file may have tabs
        return {}
    return dict(_places(root, "", 3))


def _places(node: Any, at: str, depth: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for key, value in node.value if depth and isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            yield f"{at}{key.value}", (value.start_mark.line + 1, value.start_mark.column + 1)
            yield from _places(value, f"{at}{key.value}.", depth - 1)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold keys and values (agent_id: ..., token: ..., hub_url: ..., runtime: ...)")
    return raw


class _Reader:
    """Reads typed values out of one mapping and says where a wrong one stands."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._base = path.absolute().parent
        self._source = text
        self._raw = _parse(path, text)
        self._given: set[str] = set()

    def config(self) -> Config:
        self._known(self._raw, _KEYS, "", _OLD_KEYS)
        agent_id = self._text(self._raw, "agent_id", needed=True)
        if not _AGENT_ID.match(agent_id):
            raise self._wrong("agent_id", f"{agent_id!r} is no id; use a-z, 0-9 and -, at most 64 characters")
        hub_url = self._hub_url(self._text(self._raw, "hub_url", needed=True))
        state_dir = self._folder(self._raw, "state_dir") or self._base
        config = Config(
            agent_id=agent_id,
            token=self._text(self._raw, "token", needed=True),
            hub_url=hub_url,
            hub_api_url=self._text(self._raw, "hub_api_url") or _api_url(hub_url),
            runtime=self._runtime(state_dir),
            state_dir=state_dir,
            results_dir=self._folder(self._raw, "results_dir") or state_dir / "results",
            name=self._text(self._raw, "name") or None,
            capabilities=self._capabilities(),
            log_file=self._folder(self._raw, "log_file"),
            reconnect_max=self._seconds(self._raw, "reconnect_max", 60.0),
            resend_every=self._seconds(self._raw, "resend_every", 30.0),
            progress_every=self._seconds(self._raw, "progress_every", 60.0),
            stop_grace=self._seconds(self._raw, "stop_grace", 10.0, zero=True),
            kill_grace=self._seconds(self._raw, "kill_grace", 5.0, zero=True),
            repos=self._repos(),
            one_repo=self._folder(self._raw, "repo_dir"),
            git_warns=self._git_warns(),
        )
        return replace(config, given=frozenset(self._given))

    def _get(self, raw: Mapping[str, Any], key: str, at: str = "") -> Any:
        """Return what the file says of ``key``, None when that is nothing."""
        value = raw.get(key)
        if value is not None:
            self._given.add(f"{at}{key}")
        return value

    def _repos(self) -> dict[str, Path]:
        raw = self._get(self._raw, "repos") or {}
        if not isinstance(raw, dict) or not all(isinstance(one, str) and one for one in raw.values()):
            raise self._wrong("repos", "must map names of repositories to folders, e.g. {app: /srv/app}")
        return {str(name): (self._base / Path(one).expanduser()).absolute() for name, one in raw.items()}

    def _git_warns(self) -> bool:
        said = self._get(self._raw, "git_failure")
        said = "fail" if said is None else said
        if said not in ("fail", "warn"):
            raise self._wrong("git_failure", f"{said!r}: write fail (the attempt ends) or warn (it goes on without)")
        return bool(said == "warn")

    def _runtime(self, state_dir: Path) -> RuntimeConfig:
        raw = self._raw.get("runtime")
        if raw is None and "wake_command" in self._raw:
            return self._old_wake_command(state_dir)
        if raw is None:
            raise self._wrong("runtime", "is missing; add e.g. `runtime: {name: shell, argv: [./work.sh]}`")
        if not isinstance(raw, dict):
            raise self._wrong("runtime", "must be a mapping with a name")
        self._known(raw, _RUNTIME_KEYS, "runtime.", frozenset())
        definition = self._definition(raw, state_dir / "runtimes")
        name = definition.name
        argv = self._words(raw, "argv")
        if definition.argv is None and not argv:
            raise self._wrong("runtime.argv", f"is missing; {name} runs a list of words, e.g. [python3, work.py]")
        if definition.argv is not None and argv:
            raise self._wrong("runtime.argv", f"belongs to {name} itself; use args, options or program")
        args, program = self._words(raw, "args"), self._words(raw, "program")
        if definition.argv is not None and args and "${ARGS}" not in definition.argv:
            raise self._wrong("runtime.args", f"has no place in the command of {name}")
        for variable in unknown_variables((*argv, *args)):
            raise self._wrong(
                "runtime.argv",
                f"${{{variable}}} is not filled in; the task's text is in the file $AGENTCOM_TASK_FILE",
            )
        script = self._words(raw, "script")
        for mode in script:
            if mode not in FAKE_MODES:
                raise self._wrong("runtime.script", f"{mode!r} is no mode; known are {', '.join(FAKE_MODES)}")
        check_login = self._get(raw, "check_login", "runtime.")
        check_login = True if check_login is None else check_login
        if not isinstance(check_login, bool):
            raise self._wrong("runtime.check_login", "must be true or false")
        return RuntimeConfig(
            definition=definition,
            argv=self._located(argv),
            program=self._located(program),
            args=args,
            options=self._options(raw, definition),
            cwd=self._folder(raw, "cwd", at="runtime."),
            env=self._texts(raw, "env"),
            timeout=self._seconds(raw, "timeout", 0.0, at="runtime.") or None,
            profile=self._profile(raw, definition),
            check_login=check_login,
            script=script,
        )

    def _definition(self, raw: Mapping[str, Any], folder: Path) -> Definition:
        """Return what ``file`` or ``name`` means."""
        file = self._folder(raw, "file", at="runtime.")
        name = self._text(raw, "name", needed=file is None, at="runtime.")
        try:
            if file is not None:
                definition = load_runtime(file)
                if name not in ("", definition.name):
                    raise self._wrong("runtime.name", f"{name!r} is not what {file} calls itself; leave it out")
                return definition
            found = find(name, folder)
        except RuntimeFileError as error:
            raise ConfigError(str(error)) from error
        if found is None:
            names = known(folder)
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise self._wrong(
                "runtime.name", f"{name!r} is unknown; {hint}known are {', '.join(names)}, and files in {folder}"
            )
        return found

    def _profile(self, raw: Mapping[str, Any], definition: Definition) -> str:
        profile = self._text(raw, "profile", at="runtime.") or "dev"
        if profile not in PROFILES:
            raise self._wrong("runtime.profile", f"{profile!r} is unknown; known are {', '.join(PROFILES)}")
        if profile not in {str(name) for name in definition.profiles}:
            note = f" ({definition.profile_note})" if definition.profile_note else ""
            raise self._wrong(
                "runtime.profile", f"{definition.name} has no {profile}, only {', '.join(definition.profiles)}{note}"
            )
        return profile

    def _options(self, raw: Mapping[str, Any], definition: Definition) -> dict[str, str]:
        options = self._texts(raw, "options")
        self._known(options, list(definition.options), "runtime.options.", frozenset())
        for name, option in definition.options.items():
            if option.required and not options.get(name):
                raise self._wrong(f"runtime.options.{name}", f"is missing; {definition.name} needs it: {option.about}")
        return options

    def _old_wake_command(self, state_dir: Path) -> RuntimeConfig:
        """Read the wake command of a Node sidecar: split once into words, never given to a shell."""
        try:
            argv = tuple(shlex.split(self._text(self._raw, "wake_command", needed=True)))
        except ValueError as error:
            raise self._wrong("wake_command", f"cannot be split into words: {error}") from error
        if not argv:
            raise self._wrong("wake_command", "is empty")
        for variable in unknown_variables(argv):
            raise self._wrong(
                "wake_command",
                f"${{{variable}}} is not filled in any more; let the agent read the file ${{TASK_FILE}} instead",
            )
        definition = find("wake", state_dir / "runtimes")
        if definition is None:
            raise self._wrong("wake_command", "the runtime wake is missing; install this sidecar again")
        patience = self._raw.get("confirmation_timeout_ms")
        if isinstance(patience, int | float) and patience > 0:
            wake = definition.wake.model_copy(update={"confirm": patience / 1000})
            definition = definition.model_copy(update={"wake": wake})
        return RuntimeConfig(definition=definition, argv=self._located(argv))

    def _texts(self, raw: Mapping[str, Any], key: str) -> dict[str, str]:
        value = self._get(raw, key, "runtime.") or {}
        if not isinstance(value, dict) or any(isinstance(one, dict | list) for one in value.values()):
            raise self._wrong(f"runtime.{key}", "must map names to texts")
        return {str(name): str(one) for name, one in value.items()}

    def _capabilities(self) -> tuple[str, ...]:
        raw = self._get(self._raw, "capabilities") or []
        if not isinstance(raw, list):
            raise self._wrong("capabilities", "must be a list of words")
        return tuple(str(item["name"]) if isinstance(item, dict) and "name" in item else str(item) for item in raw)

    def _hub_url(self, text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in _WS_SCHEMES or not parts.hostname:
            raise self._wrong("hub_url", f"{text!r} is no address; write ws://HOST:4000/ws")
        path = parts.path if parts.path not in ("", "/") else "/ws"
        return urlunsplit((_WS_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))

    def _known(self, raw: Mapping[Any, Any], keys: list[str], at: str, tolerated: frozenset[str]) -> None:
        for key in raw:
            if key not in keys and key not in tolerated:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}"
                raise self._wrong(f"{at}{key}", f"unknown key; {hint}")

    def _text(self, raw: Mapping[str, Any], key: str, needed: bool = False, at: str = "") -> str:
        value = self._get(raw, key, at)
        if value is None or value == "":
            self._given.discard(f"{at}{key}")
            if needed:
                raise self._wrong(f"{at}{key}", "is missing")
            return ""
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise self._wrong(f"{at}{key}", f"must be a text, not {value!r}; put it in quotes")
        return str(value)

    def _words(self, raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = self._get(raw, key, "runtime.")
        if value is None:
            return ()
        if not isinstance(value, list) or any(not isinstance(word, str | int | float) for word in value):
            raise self._wrong(f"runtime.{key}", "must be a list of words, never one string")
        return tuple(str(word) for word in value)

    def _located(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Take a relative path of a program from the config file's folder, whatever the working directory is."""
        if argv and "/" in argv[0] and not argv[0].startswith(("/", "$")):
            return (str(self._base / argv[0]), *argv[1:])
        return argv

    def _seconds(self, raw: Mapping[str, Any], key: str, default: float, at: str = "", zero: bool = False) -> float:
        value = self._get(raw, key, at)
        if value is None:
            return default
        try:
            length = seconds(value)
        except ValueError as error:
            raise self._wrong(f"{at}{key}", str(error)) from error
        if length <= 0 and not zero:
            raise self._wrong(f"{at}{key}", f"{value!r} is no duration; write e.g. 30s or 5m")
        return length

    def _folder(self, raw: Mapping[str, Any], key: str, at: str = "") -> Path | None:
        text = self._text(raw, key, at=at)
        return self._base / Path(text).expanduser() if text else None

    def _wrong(self, key: str, what: str) -> ConfigError:
        line = marks(self._source).get(key)
        place = f"{self._path}:{line[0]}:{line[1]}" if line else str(self._path)
        return ConfigError(f"{place}: {key}: {what}")


def _api_url(hub_url: str) -> str:
    parts = urlsplit(hub_url)
    return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, "", "", ""))
