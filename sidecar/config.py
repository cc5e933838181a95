"""The sidecar's config file: YAML or JSON in, one checked ``Config`` out, or one line that says what to do.

It reads the file and nothing else: no network, no runtime is looked for. Relative paths are relative to the file.
"""

import difflib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

from sidecar.runtimes.catalogue import FAKE_MODES, RUNTIMES, Definition, unknown_variables

_AGENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?\Z")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PROFILES = ("read", "edit", "dev", "full")
_KEYS = (
    "agent_id token name hub_url hub_api_url capabilities state_dir results_dir log_file reconnect_max resend_every "
    "progress_every stop_grace kill_grace runtime"
).split()
#: Keys of the Node sidecar's config.json that mean nothing here; they are no mistake.
_OLD_KEYS = frozenset({"repo_dir", "reviewer", "confirmation_timeout_ms", "wake_command"})
_RUNTIME_KEYS = "name argv cwd env timeout profile script".split()
_WS_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class ConfigError(Exception):
    """The author of the config file must change it; the message is one line: file, key, what, what to do."""


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How the agent is run; ``timeout`` in seconds, None leaves it to the hub."""

    definition: Definition
    argv: tuple[str, ...] = ()
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    profile: str = "dev"
    script: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """One sidecar; paths are absolute, durations are seconds. The token never shows in a repr."""

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


def missing_program(config: Config) -> str | None:
    """Return a line when the runtime's program is not there: every task would fail on it, and park the agent."""
    argv, env = config.runtime.argv, config.runtime.env
    if not argv or argv[0].startswith("$") or shutil.which(argv[0], path=env.get("PATH")) is not None:
        return None
    if "/" not in argv[0]:
        return f"runtime.argv: {argv[0]} is not on PATH; install it, or write its path"
    if Path(argv[0]).exists():
        return f"runtime.argv: {argv[0]} is not executable: chmod +x {argv[0]}"
    return f"runtime.argv: {argv[0]} does not exist; correct the path, it counts from the config file's folder"


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
    return _Reader(path, _parse(path, text)).config()


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

    def __init__(self, path: Path, raw: dict[str, Any]) -> None:
        self._path = path
        self._base = path.absolute().parent
        self._raw = raw

    def config(self) -> Config:
        self._known(self._raw, _KEYS, "", _OLD_KEYS)
        agent_id = self._text(self._raw, "agent_id", needed=True)
        if not _AGENT_ID.match(agent_id):
            raise self._wrong("agent_id", f"{agent_id!r} is no id; use a-z, 0-9 and -, at most 64 characters")
        hub_url = self._hub_url(self._text(self._raw, "hub_url", needed=True))
        state_dir = self._folder(self._raw, "state_dir") or self._base
        return Config(
            agent_id=agent_id,
            token=self._text(self._raw, "token", needed=True),
            hub_url=hub_url,
            hub_api_url=self._text(self._raw, "hub_api_url") or _api_url(hub_url),
            runtime=self._runtime(),
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
        )

    def _runtime(self) -> RuntimeConfig:
        raw = self._raw.get("runtime")
        if raw is None:
            hint = "add e.g. `runtime: {name: shell, argv: [./work.sh]}`"
            if "wake_command" in self._raw:
                raise self._wrong("wake_command", f"is not run by this version; {hint}")
            raise self._wrong("runtime", f"is missing; {hint}")
        if not isinstance(raw, dict):
            raise self._wrong("runtime", "must be a mapping with a name")
        self._known(raw, _RUNTIME_KEYS, "runtime.", frozenset())
        name = self._text(raw, "name", needed=True, at="runtime.")
        if name not in RUNTIMES:
            raise self._wrong("runtime.name", f"{name!r} is unknown; known are {', '.join(RUNTIMES)}")
        definition = RUNTIMES[name]
        argv = self._words(raw, "argv")
        if definition.argv is None and not argv:
            raise self._wrong("runtime.argv", f"is missing; {name} runs a list of words, e.g. [python3, work.py]")
        for variable in unknown_variables(argv):
            raise self._wrong(
                "runtime.argv",
                f"${{{variable}}} is not filled in; the task's text is in the file $AGENTCOM_TASK_FILE",
            )
        script = self._words(raw, "script")
        for mode in script:
            if mode not in FAKE_MODES:
                raise self._wrong("runtime.script", f"{mode!r} is no mode; known are {', '.join(FAKE_MODES)}")
        profile = self._text(raw, "profile", at="runtime.") or "dev"
        if profile not in PROFILES:
            raise self._wrong("runtime.profile", f"{profile!r} is unknown; known are {', '.join(PROFILES)}")
        env = raw.get("env") or {}
        if not isinstance(env, dict) or any(isinstance(value, dict | list) for value in env.values()):
            raise self._wrong("runtime.env", "must map names to texts")
        return RuntimeConfig(
            definition=definition,
            argv=self._located(argv),
            cwd=self._folder(raw, "cwd", at="runtime."),
            env={str(variable): str(value) for variable, value in env.items()},
            timeout=self._seconds(raw, "timeout", 0.0, at="runtime.") or None,
            profile=profile,
            script=script,
        )

    def _capabilities(self) -> tuple[str, ...]:
        raw = self._raw.get("capabilities") or []
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
        value = raw.get(key)
        if value is None or value == "":
            if needed:
                raise self._wrong(f"{at}{key}", "is missing")
            return ""
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise self._wrong(f"{at}{key}", f"must be a text, not {value!r}; put it in quotes")
        return str(value)

    def _words(self, raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = raw.get(key)
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
        value = raw.get(key)
        if value is None:
            return default
        match = _DURATION.match(str(value).strip())
        if match is None or (float(match[1]) <= 0 and not zero):
            raise self._wrong(f"{at}{key}", f"{value!r} is no duration; write e.g. 30s or 5m")
        return float(match[1]) * _UNITS[match[2] or "s"]

    def _folder(self, raw: Mapping[str, Any], key: str, at: str = "") -> Path | None:
        text = self._text(raw, key, at=at)
        return self._base / Path(text).expanduser() if text else None

    def _wrong(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self._path}: {key}: {what}")


def _api_url(hub_url: str) -> str:
    parts = urlsplit(hub_url)
    return urlunsplit(("https" if parts.scheme == "wss" else "http", parts.netloc, "", "", ""))
