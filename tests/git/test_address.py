"""Addresses of remotes: which are spoken to, how they are shown, when two are the same."""

import pytest

from coordinator.git.address import objection, same, shown


@pytest.mark.parametrize(
    "address",
    [
        "https://git.example.org/team/repo.git",
        "https://token@git.example.org/team/repo",
        "ssh://git@git.example.org:2222/team/repo.git",
        "git@git.example.org:team/repo.git",
        "host:repo",
        "git@[::1]:repo.git",
        "file:///srv/git/repo.git",
        "/srv/git/with some.git".replace(" ", "-"),
    ],
)
def test_https_ssh_and_files_are_spoken_to(address: str) -> None:
    assert objection(address) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ext::sh -c evil", "no address"),
        ("ext::sh", "write https"),
        ("http://git.example.org/x", "http:// is not spoken"),
        ("git://git.example.org/x", "git:// is not spoken"),
        ("ftp://git.example.org/x", "ftp:// is not spoken"),
        ("../repo.git", "write https"),
        ("repo.git", "write https"),
        ("file://repo.git", "three slashes"),
        ("-oProxyCommand=evil:x", "no address"),
        ("ssh://-oProxyCommand=evil/x", "no address"),
        ("ssh://git@-oProxyCommand=evil/x", "no address"),
        ("https:///x", "no address"),
        ("/srv/git\n/x", "no address"),
        ("", "no address"),
    ],
)
def test_everything_else_is_refused_and_says_what_to_write(address: str, why: str) -> None:
    assert why in (objection(address) or "")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("https://ada:s3cret@git.example.org/x", "https://git.example.org/x"),
        ("https://s3cret@git.example.org/x", "https://git.example.org/x"),
        ("https://a:s3@cret@git.example.org/x", "https://git.example.org/x"),
        ("https://git.example.org/x?private_token=s3cret", "https://git.example.org/x"),
        ("ssh://git:s3cret@git.example.org/x", "ssh://git@git.example.org/x"),
        ("ssh://git@git.example.org/x", "ssh://git@git.example.org/x"),
        ("git@git.example.org:x", "git@git.example.org:x"),
        (
            "unable to access 'https://ada:s3cret@git.example.org/x/': no route",
            "unable to access 'https://git.example.org/x/': no route",
        ),
    ],
)
def test_no_credentials_are_shown(text: str, seen: str) -> None:
    assert shown(text) == seen


def test_two_spellings_of_one_address_are_the_same() -> None:
    assert same("https://ada:x@Git.example.org/team/repo.git", "https://git.example.org/team/repo/")
    assert same("file:///srv/git/repo.git", "/srv/git/repo.git")
    assert not same("https://git.example.org/team/repo", "https://git.example.org/team/Repo")
    assert not same("ssh://git@git.example.org/x", "https://git.example.org/x")
