"""Packs made in memory are packs to git: it indexes them the same way and reads back every object."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.repo import Clone, make_repo

from coordinator.git import pack
from coordinator.git.pack import BLOB, COMMIT, MAX_DEPTH, TREE, Pack, Packed, delta, object_id

STAMPS = b"author A <a@x> 0 +0000\ncommitter A <a@x> 0 +0000\n"
SIZES = [0, 1, 15, 16, 126, 127, 128, 255, 256, 2047, 2048, 65535, 65536, 200_000]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"README": "x"})


def row(name: str, oid: bytes, mode: str = "100644") -> bytes:
    return f"{mode} {name}\0".encode() + oid


def installed(clone: Clone, packed: Packed) -> None:
    """Let git itself check and index the pack, compare the indexes, and leave both in the repository."""
    folder = clone.path / ".git/objects/pack"
    where = folder / f"{packed.name}.pack"
    where.write_bytes(packed.pack)
    printed = clone.git("index-pack", "--strict", "--fsck-objects", "-o", str(where.with_suffix(".idx")), str(where))
    assert f"pack-{printed.split()[-1]}" == packed.name
    assert where.with_suffix(".idx").read_bytes() == packed.idx
    assert clone.fsck() == ""


def read(clone: Clone, oid: bytes) -> bytes:
    raw = clone.git("cat-file", "--batch", input=oid.hex().encode() + b"\n").encode("utf-8", "surrogateescape")
    return raw.partition(b"\n")[2]


def test_objects_of_every_size_come_back_as_they_went_in(clone: Clone) -> None:
    made = Pack()
    contents = [bytes(n % 251 for n in range(size)) for size in SIZES]
    oids = [made.add(BLOB, content) for content in contents]
    made.add(TREE, b"".join(row(f"{n:03}", oid) for n, oid in enumerate(oids)))
    installed(clone, made.finish())
    for oid, content in zip(oids, contents, strict=True):
        assert clone.git("cat-file", "-s", oid.hex()) == str(len(content))
        assert read(clone, oid) == content


def test_a_commit_with_its_tree_is_read_by_git(clone: Clone) -> None:
    made = Pack()
    tree = made.add(TREE, row("a", made.add(BLOB, b"hello\n")))
    commit = made.add(COMMIT, b"tree %s\n%s\nsay hello\n" % (tree.hex().encode(), STAMPS))
    installed(clone, made.finish())
    assert clone.git("show", "-s", "--format=%T|%an|%s", commit.hex()) == f"{tree.hex()}|A|say hello"


def test_an_empty_pack_and_an_empty_tree_are_whole(clone: Clone) -> None:
    made = Pack()
    assert made.add(TREE, b"").hex() == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    installed(clone, made.finish())


def test_the_same_object_twice_is_stored_once(clone: Clone) -> None:
    made = Pack()
    assert made.add(BLOB, b"x") == made.add(BLOB, b"x")
    assert len(made) == 1
    installed(clone, made.finish())


def test_an_id_is_the_one_that_git_gives(clone: Clone) -> None:
    assert object_id(BLOB, b"hello\n").hex() == clone.git("hash-object", "--stdin", input=b"hello\n")


def test_trees_become_deltas_of_their_predecessors_in_chains_that_git_allows(clone: Clone) -> None:
    made = Pack()
    rows = [row(f"t-{n:04}.yaml", made.add(BLOB, b"%d" % n)) for n in range(100)]
    base: tuple[bytes, bytes] | None = None
    trees = []
    for number in range(2 * MAX_DEPTH + 10):
        rows[number % 100] = row(f"t-{number % 100:04}.yaml", made.add(BLOB, b"next %d" % number))
        raw = b"".join(rows)
        base = (made.add(TREE, raw, base), raw)
        trees.append(base)
    packed = made.finish()
    installed(clone, packed)
    shown = clone.git("verify-pack", "-v", str(clone.path / f".git/objects/pack/{packed.name}.pack"))
    lengths = [int(length) for length in re.findall(r"^chain length = (\d+)", shown, re.MULTILINE)]
    assert max(lengths) == MAX_DEPTH
    assert len(packed.pack) < 4 * len(trees[0][1]) + 200 * len(trees)
    for oid, raw in trees:
        assert object_id(TREE, raw) == oid


def test_a_base_that_is_in_no_pack_of_ours_is_no_base(clone: Clone) -> None:
    made = Pack()
    blob = made.add(BLOB, b"x")
    before = row("a", blob)
    made.add(TREE, before + row("b", blob), (object_id(TREE, before), before))
    installed(clone, made.finish())


def test_a_large_tree_is_stored_as_it_is(clone: Clone) -> None:
    made = Pack()
    blob = made.add(BLOB, b"x")
    raw = b"".join(row(f"t-{n:06}.yaml", blob) for n in range(3_000))
    assert len(raw) > pack.LARGE_TREE
    made.add(TREE, raw)
    packed = made.finish()
    assert raw[:1000] in packed.pack
    installed(clone, packed)


def test_a_pack_of_two_gibibytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "_MAX_OFFSET", 100)
    made = Pack()
    made.add(BLOB, b"x" * 101)
    with pytest.raises(ValueError, match="fewer commits"):
        made.finish()


def applied(base: bytes, change: bytes) -> bytes:
    """Apply a delta the way git does."""
    at, sizes = 0, []
    for _ in range(2):
        size = shift = 0
        while True:
            byte = change[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        sizes.append(size)
    assert sizes[0] == len(base)
    out = bytearray()
    while at < len(change):
        code = change[at]
        at += 1
        if code & 0x80:
            numbers = [0] * 7
            for bit in range(7):
                if code & 1 << bit:
                    numbers[bit] = change[at]
                    at += 1
            offset, size = int.from_bytes(bytes(numbers[:4]), "little"), int.from_bytes(bytes(numbers[4:]), "little")
            out += base[offset : offset + (size or 0x10000)]
        else:
            out += change[at : at + code]
            at += code
    assert sizes[1] == len(out)
    return bytes(out)


@given(st.binary(max_size=60), st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=60))
@example(b"", b"", b"", b"")
@example(b"ab" * 40_000, b"x", b"y", b"ba" * 40_000)
@example(b"a" * 0x10000, b"", b"b", b"")
@example(b"a" * 0x1000001, b"", b"b", b"")
def test_a_delta_applied_to_its_base_gives_the_target(front: bytes, old: bytes, new: bytes, back: bytes) -> None:
    base, target = front + old + back, front + new + back
    change = delta(base, target)
    assert applied(base, change) == target
    assert len(change) <= len(new) + len(old) + 40 + len(target) // 127
