"""The Next panel: which slice to paint next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_salt.gui.panels._panel import Panel, button, explain, row, words
from napari_salt.session._guard import connect

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["NextPanel"]

FIND = "Look at slices spread over the stack for those that the adapter is least sure of."
GO = "Go to the slice that painting would teach most (Shift-N)."
LIST_HEIGHT = 60
SLICE_ROLE = Qt.ItemDataRole.UserRole


class NextPanel(Panel):
    """Slices ranked by how much painting them would improve the adapter."""

    def __init__(self, session: Session) -> None:
        changed = session.changed
        super().__init__(
            "Next", session, (changed.image, changed.adapter, changed.job, changed.paint, changed.suggestions)
        )
        suggesting = session.suggesting
        self.search = button("Find", FIND, suggesting.start)
        self.go = button("Paint this slice next", GO, suggesting.go_to_next)
        self.list = QListWidget()
        self.list.setToolTip("Slices to paint, best first; click to go there.")
        self.list.setFlow(QListWidget.Flow.LeftToRight)
        self.list.setWrapping(True)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setFixedHeight(LIST_HEIGHT)
        connect(self.list.itemClicked, lambda item: session.go_to(item.data(SLICE_ROLE)))
        self.reason = words()
        self.form.addRow(row(self.search, self.go))
        self.form.addRow(self.reason)
        self.form.addRow(self.list)
        self.refresh()

    def refresh(self) -> None:
        """Show the session's state."""
        suggesting = self.session.suggesting
        ranked = suggesting.ranked
        explain(self.search, suggesting.cannot, FIND)
        explain(self.go, "" if ranked else suggesting.cannot, GO)
        self.go.setText(f"Paint slice {ranked[0][0]} next" if ranked else "Paint this slice next")
        self.reason.setText(suggesting.cannot if not ranked else "")
        self.reason.setVisible(bool(self.reason.text()))
        self.list.setVisible(bool(ranked))
        self.set_state(f"{len(ranked)} slices found" if ranked else "slices to paint next")
        self.list.clear()
        for index, uncertainty in ranked:
            item = QListWidgetItem(str(index))
            item.setData(SLICE_ROLE, index)
            item.setToolTip(f"slice {index}: uncertainty {uncertainty:.3f}")
            self.list.addItem(item)
