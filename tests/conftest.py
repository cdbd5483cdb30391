"""What all tests share."""

import os
from collections.abc import Generator

import pytest


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """A cache folder that is not the user's, for other processes as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_SALT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, not made yet."""
    monkeypatch.setenv("NAPARI_SALT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Checkpoint of the tiny base, for engines."""
    import tiny

    return tiny.checkpoint(tmp_path_factory.mktemp("base") / "tiny.pth")


@pytest.fixture
def tiny_base(monkeypatch):
    """The name ``tiny`` is a base model."""
    import tiny

    tiny.use(monkeypatch)


@pytest.fixture
def desk(make_napari_viewer, tmp_path, base, folder):
    """A viewer with the widget docked, on the tiny base."""
    from gui import Desk

    made = Desk(make_napari_viewer(show=False), tmp_path, base)
    yield made
    made.close()


@pytest.fixture
def painted(desk):
    """The desk with an image and paint on two slices."""
    import tiny

    image, truth = tiny.discs(6)
    desk.image, desk.paint = desk.open(image, tiny.painted(truth, 1, 4))
    return desk


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
