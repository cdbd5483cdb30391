"""The library of adapters in the panel: a colleague's adapter is found, looked at and loaded by mouse."""

import pytest

pytest.importorskip("pytestqt")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget

import tiny
from napari_salt.terms.library import Library
from napari_salt.terms.text import unpathed
from test_shelf import content
from test_widget_steps import NARROW, SMALL, truncated

pytestmark = pytest.mark.gui


def test_the_library_is_searched_used_filled_and_emptied(desk, base, tmp_path):
    long = "<b>nuclei</b> of the fruit fly, wing disc, stained, one of a series of adapters with a long name"
    for number in range(6):
        author = "A. Painter & <i>friends</i>"
        found = content(base, author=author, description="<img src=x>\nnot bold")
        Library().add(found, long if number == 5 else f"adapter {number}")
    hands = desk.hands
    hands.window.resize(*SMALL)
    desk.open(tiny.discs(3)[0])
    hands.unfold("library")
    hands.window.resizeDocks([desk.widget.parent()], [NARROW], Qt.Orientation.Horizontal)
    rows = hands.find(QListWidget, "The adapters of the library")
    hands.wait(lambda: hands.reads("6 of 6, best fit first", "library"))
    assert rows.count() == 6
    hands.type("search", "fruit fly", "library")
    assert hands.wait(lambda: rows.count() == 1)
    assert rows.item(0).text().startswith(unpathed(long)[:40]), "as text"
    hands.cell(rows, 0)
    assert desk.session.adapter is not None, desk.problems
    hands.wait(lambda: Library().entries()[-1].picture is not None)
    assert hands.reads("<i>friends</i>", "library")
    assert "in use" in rows.item(0).text()
    hands.type("search", "tiny", "library")
    hands.wait(lambda: rows.count() == 6)
    for theme in ("dark", "light"):
        desk.viewer.theme = theme
        hands.rest(0.3)
        assert not truncated(desk)
        hands.screenshot(tmp_path / f"{theme}.png")
    hands.press("Add to library", "library", hands.fill("OK", name="mine"))
    hands.wait(lambda: rows.count() == 7)
    (mine,) = Library().entries(["mine"])
    assert mine.picture is not None
    hands.cell(rows, next(n for n in range(7) if rows.item(n).text().startswith("mine")))
    assert desk.session.adapter.path == mine.path
    hands.press("Remove...", "library", hands.answer("Remove"))
    hands.wait(lambda: rows.count() == 6)
    assert desk.session.adapter.path is None
    assert not mine.path.exists()
