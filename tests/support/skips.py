"""A skipped test proves nothing, so where CI=true it is a failed one.

Loaded as a plugin by tests/conftest.py. An expected failure (`xfail`) is not a skip: it ran.
"""

import os
from collections.abc import Generator

import pytest


def _forbidden() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    detail = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return f"skipped, which CI does not allow: {detail}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a test that skipped itself, or was skipped by a mark, into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _forbidden():
        reason = _reason(report)
        report.outcome = "failed"
        report.longrepr = reason
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the report of a module that skipped itself on import into a failure."""
    report = yield
    if report.skipped and _forbidden():
        reason = _reason(report)
        report.outcome = "failed"
        report.longrepr = reason
    return report
