"""The browser. Without playwright or a Chromium these tests are skipped; with AGENTCOM_BROWSER=must they fail.

``AGENTCOM_CHROMIUM`` names a Chromium that is not on the path.
"""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def _chromium() -> str | None:
    named = os.environ.get("AGENTCOM_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    without = pytest.fail if os.environ.get("AGENTCOM_BROWSER") == "must" else pytest.skip
    if importlib.util.find_spec("playwright") is None:
        without("playwright is not installed: `make browser` does it")
    path = _chromium()
    if path is None:
        without("no Chromium here: apt-get install chromium, or name one in AGENTCOM_CHROMIUM")
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        # a browser that runs as root, as in a container, has no sandbox of its own
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=path, args=[*sandbox, "--disable-dev-shm-usage"])
        yield running
        running.close()
