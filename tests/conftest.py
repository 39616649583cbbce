"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("zonelet", deadline=None)  # how long an example takes says more of the machine than of it
settings.load_profile("zonelet")
