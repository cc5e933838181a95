"""``agentcom config show``: what is in force, who said it, and that it is what a hub started here goes by."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli import Said
from support.hubprocess import HubProcess
from support.repo import Clone
from support.waiting import until

from coordinator.inforce.hub import VARIABLES
from coordinator.place import Place
from coordinator.reading import HubClient

Run = Callable[..., Said]
SECRETS = {
    "AGENTCOM_ADMIN_TOKEN": "admin-0123456789-0123456789-0123456789",
    "AGENTCOM_HOOK_SECRET": "hook-0123456789",
    "AGENTCOM_FORGE_TOKEN": "forge-0123456789",
    "AGENTCOM_TOKEN": "mine-0123456789",
    "GH_TOKEN": "flow-0123456789",
}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing of this machine be found."""
    for name in VARIABLES | {"GH_TOKEN", "GITHUB_TOKEN", "XDG_CONFIG_HOME"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def rows(said: Said) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in said.json["settings"]}


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def sidecar(folder: Path, agent: str = "ada", more: str = "") -> Path:
    text = f"agent_id: {agent}\ntoken: ac_very-secret\nhub_url: http://h:4000\nruntime:\n  name: fake\n{more}"
    return written(folder / "config.yaml", text)


def hub_answers(hub: HubProcess, path: str, said: dict[str, Any]) -> bool:
    code, _ = HubClient(hub.url, SECRETS["AGENTCOM_ADMIN_TOKEN"]).call("POST", path, said)
    return code < 300


# --- who said it ----------------------------------------------------------------------------------------------------


def test_every_setting_comes_with_its_origin(clone: Clone, run: Run, tmp_path: Path) -> None:
    config = written(tmp_path / "home/.config/agentcom/hub.yaml", "listen: 127.0.0.1:4711\ndata_dir: mail\n")
    clone.commit({"agentcom.yaml": "timeouts:\n  accept: 90s\nlanes: {Later On: deferred}\n"})
    said = run("config", "show", "--json")
    assert said.code == 0
    found = rows(said)
    for key, value, origin in [
        ("hub.config", str(config), "found there"),
        ("hub.listen", "127.0.0.1:4711", f"{config}:1:9"),
        ("hub.data_dir", str(config.parent / "mail"), f"{config}:2:11"),
        ("hub.source", "main", "HEAD"),
        ("hub.plain", False, "default"),
        ("policy.timeouts.accept", 90.0, "agentcom.yaml:2:11"),
        ("policy.timeouts.attempt", 7200.0, "default"),
        ("policy.lanes.later on", "deferred", "agentcom.yaml:3:19"),
        ("policy.lanes.ready", "ready", "default"),
    ]:
        assert (found[key]["value"], found[key]["origin"]) == (value, origin), key


def test_a_variable_and_a_git_setting_are_named(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCOM_LOOP", "asyncio")
    monkeypatch.setenv("AGENTCOM_HUB", "http://there:1")
    monkeypatch.setenv("AGENTCOM_GITHUB_PROJECT", "us/it")
    clone.git("config", "agentcom-git.base", "trunk")
    clone.git("config", "gc.auto", "0")
    clone.git("remote", "add", "there", "https://example.org/it.git")
    clone.git("config", "agentcom.remote", "there")
    found = rows(run("config", "show", "--json"))
    assert found["hub.event_loop"]["origin"] == "AGENTCOM_LOOP in the environment"
    assert (found["commands.hub"]["value"], found["commands.hub"]["origin"]) == (
        "http://there:1",
        "AGENTCOM_HUB in the environment",
    )
    assert found["agentcom-git.project"]["origin"] == "AGENTCOM_GITHUB_PROJECT in the environment"
    assert found["agentcom-git.base"]["origin"] == "git config agentcom-git.base in .git/config"
    assert (found["git.gc.auto"]["value"], found["git.gc.auto"]["origin"]) == ("0", "git config in .git/config")
    assert found["hub.remote"]["value"] == "there"
    assert "agentcom.remote" in found["hub.remote"]["origin"]


def test_no_secret_is_shown_only_where_it_is(
    clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    clone.git("remote", "add", "origin", "https://me:password@example.org/it.git")
    clone.commit({"agentcom.yaml": "repos: {app: {url: 'https://me:password@example.org/a.git'}}\n"})
    file = sidecar(tmp_path / "data/agentcom/agents/ada", more="  env: {API_KEY: also-secret}\n")
    config = written(tmp_path / "hub.yaml", "remote: https://me:password@example.org/it.git\nhook_secret: hidden-one\n")
    words = ("config", "show", "--config", str(config))
    for shown in (run(*words, "--json").out, run(*words).out):
        for one in (*SECRETS.values(), "ac_very-secret", "also-secret", "password", "hidden-one"):
            assert one not in shown
    found = rows(run(*words, "--json"))
    assert found["hub.hook_secret"] == {
        "key": "hub.hook_secret",
        "value": None,
        "origin": "AGENTCOM_HOOK_SECRET in the environment",
        "secret": True,
        "set": True,
    }
    assert found["sidecar.ada.token"]["origin"] == f"{file}:2:8"
    assert found["sidecar.ada.runtime.env.API_KEY"]["set"] is True
    assert re.search(r"admin_token +set +AGENTCOM_ADMIN_TOKEN in the environment", run(*words).out)


def test_looking_leaves_nothing_behind(clone: Clone, run: Run) -> None:
    before = sorted(clone.path.rglob("*"))
    assert run("config", "show").code == 0
    assert sorted(clone.path.rglob("*")) == before


# --- it is what a hub goes by ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hub_started_here_goes_by_what_is_shown(
    clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = written(
        tmp_path / "hub.yaml",
        f"repo: {clone.path}\nlisten: 127.0.0.1:1\nsource: main\ndata_dir: mail\npublic_url: https://hub.example.org\n",
    )
    monkeypatch.setenv("AGENTCOM_ADMIN_TOKEN", SECRETS["AGENTCOM_ADMIN_TOKEN"])
    monkeypatch.setenv("AGENTCOM_HOOK_SECRET", SECRETS["AGENTCOM_HOOK_SECRET"])
    clone.commit({"agentcom.yaml": "retries: {max: 5}\n", "tasks/one.yaml": "title: one\n", "agents/ada.yaml": "{}\n"})
    before = rows(run("config", "show", "--config", str(config), "--json"))
    with HubProcess(clone.path, ("--config", str(config))) as hub:
        assert hub.ready, hub.said
        local = Place(clone.path / ".git/agentcom").read_hub() or {}
        assert local["public_url"] == before["hub.public_url"]["value"]
        assert hub_answers(hub, "/api/message", {"to": "ada", "payload": {"text": "hello"}})
        assert (Path(before["hub.data_dir"]["value"]) / str(local["hub_id"]) / "mail.db").is_file()
        monkeypatch.setenv("AGENTCOM_TOKEN", SECRETS["AGENTCOM_ADMIN_TOKEN"])
        told = run("task", "show", "one", "--hub", hub.url, "--json").json
        assert told["max_retries"] == before["policy.retries.max"]["value"] == 5
        assert run("status", "--hub", hub.url, "--json").json["source"] == f"refs/heads/{before['hub.source']['value']}"

        clone.commit({"agentcom.yaml": "retries: {max: many}\n", "tasks/two.yaml": "title: two\n"})
        until(lambda: run("task", "show", "two", "--hub", hub.url, "--json").code == 0)
        told = run("task", "show", "two", "--hub", hub.url, "--json").json
        after = run("config", "show", "--config", str(config), "--json")
        assert told["max_retries"] == rows(after)["policy.retries.max"]["value"] == 5
        assert rows(after)["policy.retries.max"]["origin"].startswith("agentcom.yaml@")
        assert (after.code, "agentcom.yaml:1:16" in after.json["problems"][0]) == (65, True)
        assert rows(after)["hub.source"]["origin"] == "agentcom/state, by the first start of a hub"
        assert hub.url in after.json["notes"][0]


# --- less of it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("hub.listen",), {"hub.listen"}),
        (("port",), {"hub.listen"}),
        (("policy.retries",), {"policy.retries.max", "policy.retries.backoff", "policy.retries.backoff_max"}),
        (("ACCEPT", "editor"), {"policy.timeouts.accept", "commands.editor"}),
        (("commands",), {"commands.hub", "commands.token", "commands.editor"}),
    ],
)
def test_a_word_shows_less(clone: Clone, run: Run, words: tuple[str, ...], keys: set[str]) -> None:
    assert set(rows(run("config", "show", *words, "--json"))) == keys


def test_a_word_about_nothing_is_refused_with_what_was_meant(clone: Clone, run: Run) -> None:
    said = run("config", "show", "lisen")
    assert (said.code, "did you mean listen?" in said.err) == (64, True)


# --- sidecars -------------------------------------------------------------------------------------------------------


def test_the_sidecars_of_this_machine_are_found_and_one_can_be_named(clone: Clone, run: Run, tmp_path: Path) -> None:
    sidecar(tmp_path / "data/agentcom/agents/ada")
    written(
        clone.path / ".git/agentcom/up/bob/sidecar.json",
        json.dumps({"agent_id": "bob", "token": "t", "hub_url": "http://h", "runtime": {"name": "fake"}}),
    )
    found = rows(run("config", "show", "sidecar", "--json"))
    assert {"sidecar.ada.hub_url", "sidecar.bob.hub_url"} <= set(found)
    assert found["sidecar.ada.hub_api_url"] | {"value": ""} == {
        "key": "sidecar.ada.hub_api_url",
        "value": "",
        "origin": "from hub_url",
    }
    folder = tmp_path / "elsewhere"
    file = sidecar(folder, "eve", "  profile: read\n")
    found = rows(run("config", "show", "sidecar", "--dir", str(folder), "--json"))
    assert {key.split(".")[1] for key in found} == {"eve"}
    assert found["sidecar.eve.runtime.profile"]["origin"] == f"{file}:6:12"
    assert found["sidecar.eve.runtime.timeout"]["origin"] == "default"


# --- what is wrong --------------------------------------------------------------------------------------------------


def test_a_broken_file_is_named_with_its_place_and_hides_nothing_else(clone: Clone, run: Run, tmp_path: Path) -> None:
    config = written(tmp_path / "hub.yaml", "lisen: x\n")
    clone.commit({"agentcom.yaml": "timeout: 5m\n"})
    clone.git("config", "agentcom.remot", "origin")
    file = sidecar(tmp_path / "eve", more="colour: red\n")
    said = run("config", "show", "--config", str(config), "--dir", str(file.parent), "--json")
    assert said.code == 78
    wrong = "\n".join(said.json["problems"])
    assert f"{config}:1:1: lisen: unknown key, did you mean listen?" in wrong
    assert "agentcom.yaml:1:1: timeout: unknown key" in wrong
    assert ".git/config: agentcom.remot: unknown key" in wrong
    assert f"{file}:6:9: colour: unknown key" in wrong
    assert rows(said)["policy.retries.max"] == {"key": "policy.retries.max", "value": 2, "origin": "default"}
    text = run("config", "show", "--config", str(config))
    assert f"  wrong: {config}:1:1: lisen" in text.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# ours\nlisten: 4000\n", "{config}:2:9: listen: 4000: expected HOST:PORT"),
        ("listen: 0.0.0.0:4000\n", "would let others on the way read tokens"),
        ("tls: {cert: c.pem, key: k.pem}\n", "c.pem"),
        ("public_url: hub.example.org\n", "expected https://HOST"),
    ],
)
def test_what_a_hub_would_refuse_is_said_in_its_words(
    clone: Clone, run: Run, tmp_path: Path, text: str, words: str
) -> None:
    config = written(tmp_path / "hub.yaml", text)
    said = run("config", "show", "--config", str(config), "--json")
    assert (said.code, len(said.json["problems"])) == (78, 1)
    assert words.format(config=config) in said.json["problems"][0]
    refused = run("hub", "--config", str(config), "--repo", str(clone.path))
    assert said.json["problems"][0] in refused.err


def test_a_variable_that_nothing_reads_is_named(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCOM_HBU", "http://there")
    said = run("config", "show")
    assert (said.code, "AGENTCOM_HBU in the environment: nothing reads it; did you mean AGENTCOM_HUB?" in said.out) == (
        0,
        True,
    )


def test_every_variable_that_the_program_reads_is_known() -> None:
    named = re.compile(r"\bAGENTCOM_[A-Z0-9_]*[A-Z0-9]\b")
    files = [path for folder in ("coordinator", "sidecar", "dashboard") for path in (ROOT / folder).rglob("*.py")]
    read = {name for path in files for name in named.findall(path.read_text(encoding="utf-8"))}
    assert {name for name in read if not name.startswith("AGENTCOM_GIT_")} == VARIABLES - {"GITHUB_TOKEN", "GH_TOKEN"}


def test_without_a_repository_the_rest_is_shown(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("config", "show", "--json")
    assert (said.code, rows(said)["hub.listen"]["value"]) == (66, "127.0.0.1:4000")
