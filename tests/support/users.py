"""Several users in one run, where the tests run as root; else the one user is in each one's place."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from coldcred.errors import BundleRefused, Rejected

NOBODY = 65534
ROOT = os.geteuid() == 0
"""Whether these tests can be several users."""


def as_user(user: int, call: Callable[[], str], where: Path) -> str:
    """Return what a call says that another user makes, in a child of our own, from a folder on."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child only makes this one call
        child = os.fork()
    if child == 0:
        answer = "failed"
        try:
            os.chdir(where)
            if ROOT:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            answer = call()
        except (Rejected, BundleRefused) as error:
            answer = str(error)
        finally:
            os.write(write, answer.encode())
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answers:
        return answers.read()
