"""What all tests share."""

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On CI a skipped test of the GUI is a failure: there a display is promised."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and item.get_closest_marker("gui"):
        report.outcome = "failed"
        report.longrepr = f"a test of the GUI was skipped on CI: {report.longrepr}"
    return report
