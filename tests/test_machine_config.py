"""hub.yaml: which file counts, what it says, and what is wrong with it, by line and column."""

from pathlib import Path

import pytest
from support.cli import call

from coordinator import service
from coordinator.config import Asked, Machine, find, read, settled
from coordinator.listening import Listening, Tls
from coordinator.trail import CannotStart

WHOLE = """\
repo: project
remote: origin
source: trunk
listen: 0.0.0.0:4443
tls: {cert: tls/cert.pem, key: /etc/ssl/key.pem}
public_url: https://hub.example.org
data_dir: ../mail
hook_secret: "0123456789"
"""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "hub.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    assert read(path) == Machine(
        where=path,
        repo=tmp_path / "project",
        remote="origin",
        source="trunk",
        listen="0.0.0.0:4443",
        tls=Tls(tmp_path / "tls/cert.pem", Path("/etc/ssl/key.pem")),
        public_url="https://hub.example.org",
        data_dir=tmp_path / "../mail",
        hook_secret="0123456789",
    )


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "# nothing yet\n")
    assert read(path) == Machine(where=path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lisen: x\n", "hub.yaml:1:1: lisen: unknown key, did you mean listen?"),
        ("repo: a\ntls: {cert: a}\n", "hub.yaml:2:6: tls.key: is missing"),
        ("plain: maybe\n", "hub.yaml:1:8: plain:"),
        ("a: [\n", "hub.yaml:"),
        ("- a\n", "hub.yaml:1:1:"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CannotStart) as wrong:
        read(written(tmp_path, text))
    assert words in str(wrong.value)
    assert wrong.value.exit_code == 78


def test_every_setting_knows_who_said_it(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    said = settled(Asked(listen="[::1]:1", source="main"), read(path), {})
    assert (said.listen.value, said.listen.origin) == ("[::1]:1", "--listen")
    assert (said.source.value, said.source.origin) == ("main", "--source")
    assert (said.remote.value, said.remote.origin) == ("origin", f"{path}:2:9")
    assert (said.tls.origin, said.plain.origin) == (f"{path}:5:6", "default")
    assert (said.hook_secret.value, said.hook_secret.origin) == ("0123456789", f"{path}:8:14")
    said = settled(Asked(plain=True), read(path), {"AGENTCOM_HOOK_SECRET": "other"})
    assert (said.tls.value, said.tls.origin, said.plain.origin) == (None, "default", "--plain")
    assert (said.hook_secret.value, said.hook_secret.origin) == ("other", "AGENTCOM_HOOK_SECRET in the environment")


def test_no_secret_shows_in_the_settings(tmp_path: Path) -> None:
    said = settled(Asked(), read(written(tmp_path, WHOLE)), {})
    assert "0123456789" not in repr(said)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="chmod 600"):
        read(written(tmp_path, "hook_secret: abc\n", 0o644))


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="No such file"):
        find(tmp_path / "no.yaml")


def test_a_persons_own_file_is_found_by_itself(tmp_path: Path) -> None:
    path = written(tmp_path / ".config" / "agentcom", "source: trunk\n")
    assert find(None, {"HOME": str(tmp_path)}).where == path
    elsewhere = written(tmp_path / "xdg" / "agentcom", "source: other\n")
    assert find(None, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}).where == elsewhere


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[service.Options]:
    """What ``agentcom hub`` would have started."""
    seen: list[service.Options] = []

    async def serve(options: service.Options, _announce: object, _herald: object) -> None:
        seen.append(options)

    monkeypatch.setattr(service, "serve", serve)
    monkeypatch.setattr("coordinator.log.set_up", lambda: None)
    return seen


def test_an_address_that_is_none_is_named_by_its_place_in_the_file(
    tmp_path: Path, started: list[service.Options], capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "repo: .\nlisten: nowhere\n")
    said = call(capfd, "hub", "--config", str(path))
    assert (said.code, started) == (64, [])
    assert f"{path}:2:9: listen: nowhere: expected HOST:PORT" in said.err


def test_the_command_line_wins_over_the_file(
    tmp_path: Path, started: list[service.Options], capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, WHOLE)
    assert call(capfd, "hub", "--config", str(path)).code == 0
    (options,) = started
    assert options.repo == tmp_path / "project"
    assert (options.remote, options.source, options.data_dir) == ("origin", "trunk", tmp_path / "../mail")
    tls = Tls(tmp_path / "tls/cert.pem", Path("/etc/ssl/key.pem"))
    assert options.listening == Listening("0.0.0.0", 4443, tls, public_url="https://hub.example.org")

    flags = ("--repo", str(tmp_path), "--listen", "127.0.0.1:1", "--source", "main", "--remote", "none", "--plain")
    assert call(capfd, "hub", "--config", str(path), *flags, "--public-url", "http://a").code == 0
    assert started[1].repo == tmp_path
    assert (started[1].source, started[1].remote) == ("main", "none")
    assert started[1].listening == Listening("127.0.0.1", 1, plain=True, public_url="http://a")


def test_a_mistake_in_the_file_is_one_line_and_78(
    tmp_path: Path, started: list[service.Options], capfd: pytest.CaptureFixture[str]
) -> None:
    said = call(capfd, "hub", "--config", str(written(tmp_path, "lisen: x\nport: 1\n")))
    assert (said.code, said.err.count("\n"), started) == (78, 1, [])


def test_half_a_certificate_is_used_wrongly(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(capfd, "hub", "--tls-cert", "a.pem").code == 64
