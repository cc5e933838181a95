"""What belongs to one clone: its hub id survives whatever stands in the file."""

import re
from pathlib import Path

import pytest

from coordinator.place import Place


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
