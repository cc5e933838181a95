"""For every test: no property is judged by the time that it takes, which is a machine's and not the code's."""

import pytest
from hypothesis import settings

#: Their claims are assertions, whoever imports them first.
pytest.register_assert_rewrite("support.crashes", "support.sidecardeaths")

settings.register_profile("agentcom", deadline=None)
settings.load_profile("agentcom")
