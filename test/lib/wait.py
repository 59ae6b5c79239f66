"""Waiting for a condition: the one place of the tests that sleeps."""

import time


class TimedOut(AssertionError):
    """A condition did not come true in time."""


def wait_until(condition, timeout=30.0, what="condition", interval=0.02):
    """Asks condition() until it gives something true, and returns that.

    what names the condition in the failure's message; a callable is asked for the message then, so
    that it can tell the state at the end.
    """
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            told = what() if callable(what) else what
            raise TimedOut(f"not within {timeout} s: {told}")
        time.sleep(interval)


def let_pass(seconds):
    """For what has no condition: that nothing happens for a while, or a pace."""
    time.sleep(seconds)
