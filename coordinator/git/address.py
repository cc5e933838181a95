"""The address of a remote: which kinds are spoken to, how one is shown, and when two are the same.

Pure. Only https, ssh (also as ``user@host:path``) and files of this machine: another scheme may run a program, or send
what it is told in the clear. Whatever stands before the ``@`` of an https address is a secret and is never shown.
"""

import re

#: What git may speak, for GIT_ALLOW_PROTOCOL: it also holds for what a configuration makes of an address.
ALLOWED = "file:https:ssh"

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SCP = re.compile(r"(?:[^\s@:/-][^\s@:/]*@)?(?:\[[0-9a-fA-F:.]+\]|[^\s@:/\[-][^\s@:/]*):(?!:)[^\s]+")
_SECRET = re.compile(r"(\b[a-z][a-z0-9+.-]*://)([^\s/@]*@)+", re.IGNORECASE)
_USER = re.compile(r"(ssh://)([^\s/@:]+)(?::[^\s/@]*)?@", re.IGNORECASE)
_QUERY = re.compile(r"(\bhttps?://[^\s?#'\"]+)[?#][^\s'\"]*", re.IGNORECASE)


def objection(address: str) -> str | None:
    """Return why this address is not spoken to, in words for people, None when it is."""
    if not address or any(not char.isprintable() or char.isspace() for char in address) or address.startswith("-"):
        return "that is no address"
    scheme = _SCHEME.match(address)
    if scheme is None:
        if address.startswith("/") or _SCP.fullmatch(address):
            return None
        return "write https://..., ssh://..., user@host:path, file:///... or an absolute path"
    name, rest = scheme[1].lower(), address[scheme.end() :]
    if name == "file":
        return None if rest.startswith("/") else "a file:// address names an absolute path, with three slashes"
    if name not in ("https", "ssh"):
        return f"{name}:// is not spoken here: use https, ssh or a path"
    host = rest.partition("/")[0].rpartition("@")[2]
    return "that is no address" if not host or host.startswith("-") else None


def shown(text: str) -> str:
    """Return an address, or a text in which some stand, without user names, passwords and tokens in them.

    The user name of an ssh address is no secret and stays.
    """
    return _QUERY.sub(r"\1", _SECRET.sub(_bare, text))


def _bare(match: re.Match[str]) -> str:
    user = _USER.fullmatch(match[0])
    return match[1] if user is None else f"{user[1]}{user[2]}@"


def folder_name(url: str) -> str:
    """Return the name of the folder for a copy of what stands at an address: one for each, whatever it says."""
    import hashlib

    return hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()[:16]


def same(one: str, other: str) -> bool:
    """Tell whether two addresses mean the same repository, as far as their texts tell."""
    return _plain(one) == _plain(other)


def _plain(address: str) -> str:
    text = shown(address).removeprefix("file://").rstrip("/").removesuffix(".git").rstrip("/")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    host, slash, path = text[scheme.end() :].partition("/")
    return f"{scheme[0].lower()}{host.lower()}{slash}{path}"
