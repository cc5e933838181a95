"""What belongs to one clone: its hub id survives whatever stands in the file, its admin token stays a secret."""

import re
from pathlib import Path

import pytest

from coordinator.place import Exposed, Place


def test_a_hub_id_is_made_once_and_kept(tmp_path: Path) -> None:
    made = Place(tmp_path / "agentcom").hub_id()
    assert re.fullmatch("h-[0-9a-z]{8}", made)
    assert Place(tmp_path / "agentcom").hub_id() == made


@pytest.mark.parametrize("rubbish", [b"", b"\n", b"\0\0../x\n", b"\xff\xfe", b"h-AAAAAAAA", b"h-12345678\nmore"])
def test_a_hub_id_that_is_none_is_made_anew_and_never_used(tmp_path: Path, rubbish: bytes) -> None:
    place = Place(tmp_path / "agentcom")
    place.hub_id()
    (place.folder / "hub-id").write_bytes(rubbish)
    made = place.hub_id()
    assert re.fullmatch("h-[0-9a-z]{8}", made)
    assert place.hub_id() == made


def test_the_admins_token_is_made_once_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTCOM_ADMIN_TOKEN", raising=False)
    place = Place(tmp_path / "agentcom")
    made = place.admin_token()
    assert re.fullmatch("ac_[A-Za-z0-9_-]{43}", made)
    assert (place.folder / "admin.token").stat().st_mode & 0o777 == 0o600
    assert place.admin_token() == place.read_admin_token() == made


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o777])
def test_an_admins_token_that_others_can_read_is_refused_with_the_cure_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.delenv("AGENTCOM_ADMIN_TOKEN", raising=False)
    place = Place(tmp_path / "agentcom")
    made = place.admin_token()
    (place.folder / "admin.token").chmod(mode)
    with pytest.raises(Exposed, match=f"mode {mode:o}.*chmod 600") as refused:
        place.admin_token()
    assert made not in str(refused.value)


@pytest.mark.parametrize("weak", ["", "short", "x" * 31, "with a blank " * 4, "ü" * 40])
def test_an_admins_token_that_could_be_guessed_or_typed_wrongly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    place = Place(tmp_path / "agentcom")
    monkeypatch.delenv("AGENTCOM_ADMIN_TOKEN", raising=False)
    place.admin_token()
    (place.folder / "admin.token").write_text(weak, encoding="utf-8")
    with pytest.raises(Exposed, match=r"admin\.token"):
        place.admin_token()


def test_the_environment_may_name_the_admins_token_and_then_no_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTCOM_ADMIN_TOKEN", "y" * 32)
    place = Place(tmp_path / "agentcom")
    assert place.admin_token() == place.read_admin_token() == "y" * 32
    assert not place.folder.exists()
    monkeypatch.setenv("AGENTCOM_ADMIN_TOKEN", "short")
    with pytest.raises(Exposed, match="AGENTCOM_ADMIN_TOKEN in the environment"):
        place.admin_token()
