"""From values to HTML: the templates, what they may call, and the static files under names that say what is in them.

Every value is escaped unless it was made of escaped parts here. A file whose content changes has another name, so that
browsers may keep it for ever.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dashboard import charts, prose, words

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file, as it is sent."""

    name: str
    kind: str
    data: bytes


def _load() -> Mapping[str, Asset]:
    """Return every static file by its path below ``static``."""
    found = {}
    for file in sorted(_STATIC.rglob("*")):
        if file.suffix in _TYPES:
            data = file.read_bytes()
            name = f"{file.stem}-{hashlib.sha256(data).hexdigest()[:12]}{file.suffix}"
            found[file.relative_to(_STATIC).as_posix()] = Asset(name, _TYPES[file.suffix], data)
    return found


ASSETS = _load()
#: The same by the name under which they are asked for.
BY_NAME = {asset.name: asset for asset in ASSETS.values()}


def asset(path: str) -> str:
    """Return the address of a static file."""
    return f"/dashboard/static/{ASSETS[path].name}"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        asset=asset, badge=words.badge, reason=words.reason, tone=words.tone, many=words.many, charts=charts
    )
    made.filters.update(
        span=words.span,
        ago=words.ago,
        clock=words.clock,
        iso=words.iso,
        count=words.count,
        markdown=prose.markdown,
        plain=prose.plain,
    )
    return made


_ENVIRONMENT = _environment()


def render(template: str, **values: Any) -> str:
    """Return a page or a fragment."""
    return _ENVIRONMENT.get_template(template).render(**values)
