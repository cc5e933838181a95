"""The names of branches and folders, from task ids and titles in any language.

Pure. A name depends on nothing but agent, task and title, so that two machines agree on it.
"""

import re

#: Longest slug, in characters; cut at a word where one ends in its second half.
SLUG_CHARS = 40

_FOREIGN = re.compile(r"[^\x00-\x7f]+")
#: Scripts without spaces come out of the transliteration as one word with a capital for each syllable.
_SYLLABLE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")
#: git refuses these in a ref, or gives them a meaning.
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)")


def slug(title: str) -> str:
    """Return a title as ``[a-z0-9-]``, transliterated, at most ``SLUG_CHARS`` long and never empty."""
    import unicodedata

    text = unicodedata.normalize("NFC", title)
    if not text.isascii():
        text = _FOREIGN.sub(_latin, text)
    words = _OTHER.sub("-", text.lower()).strip("-")
    return _cut(words) or "task"


def branch(agent: str, task_id: str, title: str) -> str:
    """Return the branch on which an agent works on a task: ``loash/t-k3m9q2xa-write-the-docs``."""
    return f"{agent}/{task_id}-{slug(title)}"


def apart(name: str, task_id: str) -> str:
    """Return a branch's name that another task of the same agent cannot have.

    Ids and slugs both contain hyphens, so two tasks may lead to one name.
    """
    import hashlib

    return f"{name}-{hashlib.sha256(task_id.encode()).hexdigest()[:6]}"


def ref_objection(name: str) -> str | None:
    """Return why git would not take this as a branch's name, None when it would."""
    if not name:
        return "it is empty"
    if name.startswith(("-", "/", ".")) or name.endswith(("/", ".")) or name == "@" or _NO_REF.search(name):
        return "git takes no branch of that name"
    return None


def _latin(match: re.Match[str]) -> str:
    from anyascii import anyascii

    return _SYLLABLE.sub("-", anyascii(match[0]))


def _cut(words: str) -> str:
    if len(words) <= SLUG_CHARS:
        return words
    cut = words[: SLUG_CHARS + 1].rpartition("-")[0]
    return (cut if len(cut) > SLUG_CHARS // 2 else words[:SLUG_CHARS]).strip("-")
