"""For every test: no property is judged by the time that it takes, which is a machine's and not the code's."""

from hypothesis import settings

settings.register_profile("agentcom", deadline=None)
settings.load_profile("agentcom")
