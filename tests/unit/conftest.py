"""Hypothesis finds what is wrong, not how slow a busy machine is."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
