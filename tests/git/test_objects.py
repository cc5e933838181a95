"""Objects are read as something, whatever a tool of somebody's wrote; only a damaged tree is an error."""

from pathlib import Path

import pytest
from support.repo import make_repo

from coordinator.git.objects import Object, parse_commit, parse_tree, read_headers
from coordinator.git.run import GitError

HEAD = b"tree 12\nauthor A <a@x> 5 +0000\ncommitter C <c@x> 7 +0000\n"


def commit(data: bytes) -> Object:
    return Object("34", "commit", data)


@pytest.mark.parametrize(
    "encoding", [b"undefined", b"idna", b"punycode", b"unicode_escape", b"UTF-7", b"base64", b"nowhere", b"a\0b", b""]
)
def test_a_commit_in_no_encoding_of_text_is_read_as_utf_8(encoding: bytes) -> None:
    assert parse_commit(commit(HEAD + b"encoding " + encoding + b"\n\nCaf\xc3\xa9 \\x41\n")).message == "Café \\x41\n"


def test_a_commit_in_another_encoding_is_read_in_it() -> None:
    assert parse_commit(commit(HEAD + b"encoding ISO-8859-1\n\nCaf\xe9\n")).message == "Café\n"


@pytest.mark.parametrize("when", [b"--5 +0000", b"9" * 5000 + b" +0000", b"five", b"", b"\xb2 +0000"])
def test_a_time_that_is_none_is_the_epoch(when: bytes) -> None:
    assert parse_commit(commit(b"author A <a@x> " + when + b"\n\nhi\n")).author.time_ms == 0


def test_a_commit_that_lacks_everything_is_still_a_value() -> None:
    read = parse_commit(commit(b""))
    assert (read.author.name, read.committer.email, read.parents, read.message) == ("", "", (), "")


@pytest.mark.parametrize("data", [b"100644 abc", b"100644", b"100644 a\0\x12"])
def test_a_tree_that_is_cut_off_is_an_error_with_a_name(data: bytes) -> None:
    with pytest.raises(GitError, match="damaged"):
        parse_tree(Object("12" * 20, "tree", data))


def test_headers_tell_id_type_and_size_without_the_content(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"a": "12345"})
    blob = clone.head("HEAD:a")
    assert read_headers(clone.repo.git_dir, ["HEAD:a", "HEAD:a b", blob]) == [
        (blob, "blob", 5),
        None,
        (blob, "blob", 5),
    ]
