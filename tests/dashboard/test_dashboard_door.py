"""Who may look."""

import pytest

from dashboard.door import Caller, is_local, make_key, opens

TOKEN, NOW = "ac_admin", 1_800_000_000_000


@pytest.mark.parametrize("host", ["127.0.0.1:4000", "localhost:4000", "LOCALHOST", "[::1]:4000", "127.0.0.1"])
def test_this_machine_by_its_own_names_is_local(host: str) -> None:
    assert is_local(Caller("127.0.0.1", host))
    assert is_local(Caller("::1", host))


@pytest.mark.parametrize(
    "host", ["evil.example:4000", "evil.example", "localhost.evil.example", "", None, "127.0.0.1.evil:1"]
)
def test_a_web_site_that_sends_a_browser_here_by_its_own_name_is_not(host: str | None) -> None:
    assert not is_local(Caller("127.0.0.1", host))


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "fe80::1%eth0", None, "", "nonsense"])
def test_another_machine_is_not_local_whatever_it_says(address: str | None) -> None:
    assert not is_local(Caller(address, "localhost:4000"))


def test_a_key_is_good_until_its_end_and_with_this_token_alone() -> None:
    key = make_key(TOKEN, NOW)
    assert opens(TOKEN, key, NOW - 1)
    assert not opens(TOKEN, key, NOW)
    assert not opens("ac_other", key, NOW - 1)


@pytest.mark.parametrize(
    "key", ["", ".", "1", "x.y", "9999999999999.", "٣.x", "-1.x", "1" * 99 + ".x", "\ud800.\ud800"]
)
def test_what_is_no_key_opens_nothing(key: str) -> None:
    assert not opens(TOKEN, key, NOW)


def test_the_end_of_a_key_cannot_be_put_off() -> None:
    until, _, sign = make_key(TOKEN, NOW).partition(".")
    assert not opens(TOKEN, f"{int(until) + 1}.{sign}", NOW - 1)
