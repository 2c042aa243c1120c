"""Sessions whose kernels are compiled with their asserts: every access to memory states its bounds.

An assert that does not hold ends the process with a message.
"""

from max.driver import CPU
from max.engine import InferenceSession
from max.engine.api import AssertLevel


def asserting_session() -> InferenceSession:
    session = InferenceSession(devices=[CPU()])
    session.set_mojo_assert_level(AssertLevel.ALL)
    return session
