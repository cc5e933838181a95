"""How a hub may be reached: what is refused before anything is changed, and TLS over real sockets."""

import asyncio
import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.certs import make_cert, trusting
from support.doors import open_door, read_answer
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_repo
from websockets.asyncio.client import connect

from coordinator.listening import Certificate, Listening, Tls, check
from coordinator.place import Place, new_token
from coordinator.reading import HubClient, HubUnreachable
from coordinator.trail import CannotStart
from coordinator.web.auth import digest


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "# Backlog\n"})


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_needs_nothing(host: str) -> None:
    assert check(Listening(host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "hub.example.org", "128.0.0.1", "::ffff:10.0.0.1"])
def test_anywhere_else_one_of_three_ways_must_be_named(host: str) -> None:
    with pytest.raises(CannotStart) as refused:
        check(Listening(host))
    assert refused.value.exit_code == 78
    assert all(way in str(refused.value) for way in ("--tls-cert FILE --tls-key FILE", "--behind-proxy", "--plain"))
    assert "\n" not in str(refused.value)
    check(Listening(host, plain=True))
    check(Listening(host, behind_proxy=True))


@pytest.mark.parametrize("url", ["hub.example.org", "ftp://a", "https://", "https://a/b", "https://u@a", "https://a:x"])
def test_a_public_address_is_a_scheme_and_a_name(url: str) -> None:
    with pytest.raises(CannotStart, match="--public-url"):
        check(Listening(public_url=url))


def test_files_that_are_no_certificate_and_key_are_named(tmp_path: Path) -> None:
    one, other = make_cert(tmp_path, "one"), make_cert(tmp_path, "other")
    locked = tmp_path / "locked.key"
    argv = ["openssl", "ec", "-in", str(one.key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    for tls, words in (
        (Tls(tmp_path / "no.pem", one.key), "No such file"),
        (Tls(one.cert, other.key), "not that of the certificate"),
        (Tls(one.key, one.key), "no certificate and key in PEM"),
        (Tls(one.cert, locked), "pass phrase"),
    ):
        with pytest.raises(CannotStart, match=words) as refused:
            check(Listening("0.0.0.0", tls=tls))
        assert refused.value.exit_code == 78


def test_a_url_for_this_machine_is_one_that_can_be_called() -> None:
    assert Listening("0.0.0.0", plain=True).url(4000) == "http://127.0.0.1:4000"
    assert Listening("::", plain=True).url(4000) == "http://[::1]:4000"
    assert Listening("10.0.0.1", tls=Tls(Path("c"), Path("k"))).url(1) == "https://10.0.0.1:1"


# --- TLS ------------------------------------------------------------------------------------------------------------


async def test_https_and_wss_work_and_what_is_old_or_plain_does_not(tmp_path: Path) -> None:
    tls = make_cert(tmp_path)
    async with open_door(tls=Certificate(tls).context) as door:
        reader, writer = await door.open(trusting(tls))
        assert writer.get_extra_info("ssl_object").version() in ("TLSv1.3", "TLSv1.2")
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await read_answer(reader)).json["service"] == "agent_com"
        writer.close()
        async with connect(f"wss://localhost:{door.port}/ws", ssl=trusting(tls)) as link:
            await link.wait_closed()
        with pytest.raises(ssl.SSLError):
            await door.open(ssl.create_default_context())
        reader, writer = await door.open()
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(20):
            assert b"HTTP/1" not in await reader.read()
        writer.close()


def test_versions_before_1_2_are_not_spoken(tmp_path: Path) -> None:
    certificate = check(Listening("0.0.0.0", tls=make_cert(tmp_path)))
    assert certificate is not None
    context = certificate.context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert all(cipher["aead"] for cipher in context.get_ciphers())


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    tls, renewed = make_cert(tmp_path), make_cert(tmp_path, "renewed")
    certificate = Certificate(tls)
    async with open_door(tls=certificate.context) as door:
        renewed.cert.replace(tls.cert)
        certificate.beat()  # half of it is there: the old one stays
        with pytest.raises(ssl.SSLError):
            await door.open(trusting(tls))
        renewed.key.replace(tls.key)
        certificate.beat()
        _, writer = await door.open(trusting(tls))
        writer.close()
        tls.key.unlink()
        certificate.beat()
        _, writer = await door.open(trusting(tls))
        writer.close()


def test_a_hub_that_listens_plainly_says_what_that_means(caplog: pytest.LogCaptureFixture) -> None:
    check(Listening("127.0.0.1", plain=True))
    assert not caplog.text
    check(Listening("0.0.0.0", plain=True))
    assert "can read their tokens" in caplog.text


# --- a real hub -----------------------------------------------------------------------------------------------------


def test_a_refused_hub_has_changed_nothing(clone: Clone) -> None:
    hub = HubProcess(clone.path, ("--listen", "0.0.0.0:0")).start()
    assert hub.ended() == 78
    assert len(hub.said.splitlines()) == 1
    assert not (clone.path / ".git" / "agentcom").exists()


@pytest.mark.slow
def test_commands_of_this_machine_know_a_hub_with_tls_by_its_certificate(clone: Clone, tmp_path: Path) -> None:
    tls = make_cert(tmp_path)
    options = ("--listen", "0.0.0.0:0", "--tls-cert", str(tls.cert), "--tls-key", str(tls.key))
    options = (*options, "--public-url", "https://hub.example.org/")
    with HubProcess(clone.path, options) as hub:
        assert hub.url.startswith("https://127.0.0.1:"), hub.said
        said = Place(clone.path / ".git" / "agentcom").read_hub()
        assert said is not None
        assert (said["url"], said["tls_cert"]) == (hub.url, str(tls.cert))
        assert said["public_url"] == "https://hub.example.org"
        argv = [sys.executable, "-m", "coordinator", "status", "--json"]
        done = subprocess.run(argv, cwd=clone.path, capture_output=True, check=True, timeout=60, env=git_env())
        assert json.loads(done.stdout)["live"] is True
        argv = [sys.executable, "-m", "coordinator", "agent", "add", "loash"]
        done = subprocess.run(argv, cwd=clone.path, capture_output=True, check=True, timeout=60, env=git_env())
        assert b"hub_url: wss://hub.example.org/ws" in done.stdout
        token = Place(clone.path / ".git" / "agentcom").read_admin_token()
        stranger = make_cert(tmp_path, "stranger")
        with pytest.raises(HubUnreachable):
            HubClient(hub.url, token, str(stranger.cert)).get("/api/status")


def sidecar(folder: Path, url: str, token: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Let an agent take one task, or end for want of one."""
    folder.mkdir()
    config = folder / "sidecar.yaml"
    config.touch(0o600)
    config.write_text(f"agent_id: loash\ntoken: {token}\nhub_url: {url}\nruntime: {{name: fake}}\n")
    argv = [sys.executable, "-m", "sidecar", "run", "--once", "--config", str(config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, env=git_env(**env), check=False)


@pytest.mark.slow
def test_a_sidecar_works_over_tls_with_an_authority_of_its_own(clone: Clone, tmp_path: Path) -> None:
    tls, token = make_cert(tmp_path), new_token()
    clone.commit(
        {
            "BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] one\n",
            "agents/loash.yaml": f"name: loash\ntokens: [{{sha256: {digest(token)}}}]\n",
        }
    )
    with HubProcess(clone.path, ("--tls-cert", str(tls.cert), "--tls-key", str(tls.key))) as hub:
        url = hub.url.replace("https", "wss") + "/ws"
        done = sidecar(tmp_path / "loash", url, token, SSL_CERT_FILE=str(tls.cert))
        assert done.returncode == 0, done.stderr
        cert = str(tls.cert)
        admin = Place(clone.path / ".git" / "agentcom").read_admin_token()
        assert HubClient(hub.url, admin, cert).get("/api/status")["by_status"]["done"] == 1
        metrics = urllib.request.urlopen(f"{hub.url}/metrics", context=trusting(tls), timeout=20)  # noqa: S310
        with metrics:
            text = metrics.read().decode()
        assert "agentcom_assignment_latency_seconds_count 1.0" in text
        assert 'agentcom_transitions_total{event="completed"} 1.0' in text


@pytest.mark.slow
def test_a_sidecar_that_is_refused_for_the_name_it_uses_is_told_the_remedy(clone: Clone, tmp_path: Path) -> None:
    with HubProcess(clone.path) as hub:
        odd = hub.url.replace("http://127.0.0.1", "ws://2130706433") + "/ws"  # the same address in one number
        done = sidecar(tmp_path / "loash", odd, new_token())
    assert done.returncode == 77
    assert "--public-url" in done.stderr
