"""One pack from objects in memory: the bytes of ``pack-X.pack`` and of its index, version 2.

This module decides how objects become a pack that stands alone: what is deflated, what is stored as it is, and which
tree is the delta of which. It touches no file and knows no branch. SHA-1 only.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1

#: The types of objects, as a pack numbers them.
COMMIT, TREE, BLOB = 1, 2, 3
_OFS_DELTA = 6
_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}

#: Longest chain of deltas: what git itself allows when it packs, and what reading stays quick with.
MAX_DEPTH = 50

#: Below this many bytes deflating saves less than its set-up costs.
TINY = 256
#: Above this many bytes a tree, half of which are ids that do not deflate, is stored whole: it takes 9 ms to deflate
#: 400 KB, longer than writing them. The next repack deflates it.
LARGE_TREE = 1 << 16

_MAX_OFFSET = (1 << 31) - 1
_MAX_COPY = (1 << 24) - 1
_MAX_INSERT = 127
_MAX_STORED = (1 << 16) - 1


@dataclass(frozen=True, slots=True)
class Packed:
    """A whole pack: its ``name`` (``pack-X`` without ending), its bytes and those of its index."""

    name: str
    pack: bytes
    idx: bytes


class Pack:
    """A pack that grows by ``add``; the same object twice is stored once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = [b""]
        self._end = 12
        self._at: dict[bytes, tuple[int, int]] = {}  # id -> where it begins, how deep its chain of deltas is
        self._crcs: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._at)

    def add(self, kind: int, data: bytes, base: tuple[bytes, bytes] | None = None) -> bytes:
        """Add one object; return its id as 20 bytes.

        ``base`` is (id, content) of an object of the same type that this one was made from: where that stands in this
        pack, only the difference is stored.
        """
        oid = object_id(kind, data)
        if oid not in self._at:
            depth, packed = self._packed(kind, data, base)
            self._at[oid] = (self._end, depth)
            self._crcs[oid] = zlib.crc32(packed)
            self._parts.append(packed)
            self._end += len(packed)
        return oid

    def finish(self) -> Packed:
        """Return the pack as bytes. Raises ValueError for one of 2 GiB or more."""
        if self._end > _MAX_OFFSET:
            raise ValueError("a pack of 2 GiB or more cannot be written at once: flush fewer commits")
        self._parts[0] = b"PACK" + struct.pack(">II", 2, len(self._at))
        body = b"".join(self._parts)
        checksum = sha1(body, usedforsecurity=False).digest()
        return Packed(f"pack-{checksum.hex()}", body + checksum, self._index(checksum))

    def _packed(self, kind: int, data: bytes, base: tuple[bytes, bytes] | None) -> tuple[int, bytes]:
        """Return the depth of an object's chain of deltas and its entry in the pack."""
        found = self._at.get(base[0]) if base is not None else None
        if base is not None and found is not None and found[1] < MAX_DEPTH:
            change = delta(base[1], data)
            if 2 * len(change) < len(data):
                head = _head(_OFS_DELTA, len(change)) + _distance(self._end - found[0])
                return found[1] + 1, head + _deflate(change)
        whole = _store(data) if kind == TREE and len(data) > LARGE_TREE else _deflate(data)
        return 0, _head(kind, len(data)) + whole

    def _index(self, checksum: bytes) -> bytes:
        oids = sorted(self._at)
        fanout, seen = [0] * 256, 0
        for oid in oids:
            fanout[oid[0]] += 1
        for first, count in enumerate(fanout):
            seen += count
            fanout[first] = seen
        body = b"".join(
            (
                b"\xfftOc" + struct.pack(">I256I", 2, *fanout),
                *oids,
                struct.pack(f">{len(oids)}I", *(self._crcs[oid] for oid in oids)),
                struct.pack(f">{len(oids)}I", *(self._at[oid][0] for oid in oids)),
                checksum,
            )
        )
        return body + sha1(body, usedforsecurity=False).digest()


def object_id(kind: int, data: bytes) -> bytes:
    """Return the id of an object, 20 bytes."""
    state = sha1(b"%s %d\0" % (_NAMES[kind], len(data)), usedforsecurity=False)
    state.update(data)
    return state.digest()


def delta(base: bytes, target: bytes) -> bytes:
    """Return git's delta from ``base`` to ``target``: what both begin with, what is new, what both end with."""
    front = _same_front(base, target)
    back = _same_back(base, target, min(len(base), len(target)) - front)
    return b"".join(
        (
            _number(len(base)),
            _number(len(target)),
            *_copies(0, front),
            *_inserts(target[front : len(target) - back]),
            *_copies(len(base) - back, back),
        )
    )


def _same_front(one: bytes, other: bytes) -> int:
    """Return how many bytes both begin with; halving compares slices, so that C does the work."""
    same, differs = 0, min(len(one), len(other)) + 1
    while differs - same > 1:
        middle = (same + differs) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            differs = middle
    return same


def _same_back(one: bytes, other: bytes, most: int) -> int:
    """Return how many bytes both end with, at most ``most``."""
    same, differs, a, b = 0, most + 1, len(one), len(other)
    while differs - same > 1:
        middle = (same + differs) // 2
        if one[a - middle : a - same] == other[b - middle : b - same]:
            same = middle
        else:
            differs = middle
    return same


def _copies(offset: int, size: int) -> Iterator[bytes]:
    while size:
        part = min(size, _MAX_COPY)
        code, arguments = 0x80, bytearray()
        for bit, byte in enumerate((*offset.to_bytes(4, "little"), *part.to_bytes(3, "little"))):
            if byte:
                code |= 1 << bit
                arguments.append(byte)
        yield bytes((code,)) + arguments
        offset += part
        size -= part


def _inserts(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _MAX_INSERT):
        part = data[at : at + _MAX_INSERT]
        yield bytes((len(part),)) + part


def _number(value: int) -> bytes:
    """Return a size as deltas have it: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head(kind: int, size: int) -> bytes:
    """Return the head of an entry: type and size, four bits of it beside the type, then seven bits a byte."""
    first, rest = kind << 4 | size & 0x0F, size >> 4
    return bytes((first | 0x80,)) + _number(rest) if rest else bytes((first,))


def _distance(value: int) -> bytes:
    """Return how far back the base lies, seven bits a byte, the highest first; each further byte counts one more."""
    out = [value & 0x7F]
    value >>= 7
    while value:
        value -= 1
        out.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes(reversed(out))


def _deflate(data: bytes) -> bytes:
    if len(data) < TINY:
        return _store(data)
    return zlib.compress(data, 1)


def _store(data: bytes) -> bytes:
    """Return a zlib stream that holds ``data`` as it is."""
    out = [b"\x78\x01"]
    for at in range(0, max(len(data), 1), _MAX_STORED):
        part = data[at : at + _MAX_STORED]
        out.append(struct.pack("<BHH", at + _MAX_STORED >= len(data), len(part), len(part) ^ 0xFFFF))
        out.append(part)
    out.append(struct.pack(">I", zlib.adler32(data)))
    return b"".join(out)
