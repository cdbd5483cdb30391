"""The trainings of this session: how good each was, and the way back to its adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_salt.session._guard import connect

if TYPE_CHECKING:
    from napari_salt.session._session import Session

__all__ = ["RunList"]

TOOLTIP = "The trainings of this session; click on one to bring its adapter and its curves back."
ROW_HEIGHT, MOST_ROWS = 19, 4
RUN_ROLE = Qt.ItemDataRole.UserRole


class RunList(QListWidget):
    """One line for each training; the one whose adapter is in use is marked."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.setToolTip(TOOLTIP)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        connect(self.itemClicked, self._bring_back)

    def refresh(self) -> None:
        """Show the session's trainings, if there are several."""
        training = self._session.training
        self.setVisible(len(training.runs) > 1)
        self.setEnabled(not self._session.job)
        self.clear()
        for run in training.runs:
            item = QListWidgetItem(run.text + (" - in use" if training.in_use(run) else ""))
            item.setData(RUN_ROLE, run.number)
            item.setToolTip(TOOLTIP)
            self.addItem(item)
        self.setFixedHeight(ROW_HEIGHT * min(len(training.runs), MOST_ROWS) + 6)

    def _bring_back(self, item: QListWidgetItem) -> None:
        self._session.bring_back(item.data(RUN_ROLE))
