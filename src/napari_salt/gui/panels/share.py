"""The Share panel: the adapter as a file that a colleague can use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QFormLayout, QLineEdit, QWidget

from napari_salt.gui.panels._panel import Panel, button, explain, plain_tip, words
from napari_salt.session._guard import connect
from napari_salt.terms.limits import longest
from napari_salt.terms.text import shown_size, unpathed

if TYPE_CHECKING:
    from napari_salt.session._adapter_file import LoadedAdapter
    from napari_salt.session._session import Session

__all__ = ["SharePanel"]

ADAPTER_FILES = "SALT adapters (*.safetensors)"
SAVE = "Save the adapter as one small file."
WHAT_FOR = "A colleague drops the file on napari, and segments or goes on training. It holds no image."
MAX_FILE_NAME = 60


class SharePanel(Panel):
    """Saves the adapter."""

    def __init__(self, session: Session) -> None:
        super().__init__("5 Share", session, (session.changed.adapter, session.changed.job))
        self.save = button("Save...", SAVE, self._save)
        self.primary = self.save
        self.file = words()
        self.form.addRow(self.save)
        self.form.addRow(self.file)
        self.refresh()

    def stand_out(self, on: bool) -> None:  # noqa: FBT001 (as Qt's)
        """Let *Save* stand out while there is something to save."""
        adapter = self.session.adapter
        super().stand_out(on and adapter is not None and adapter.path is None)

    def refresh(self) -> None:
        """Show where the adapter is."""
        adapter = self.session.adapter
        explain(self.save, self.session.unsavable if adapter else "there is no adapter", SAVE)
        if adapter is None:
            self.file.setText("There is no adapter yet: train one (3 Train), or load one (Model).")
            self.set_state("nothing yet")
        elif adapter.path is None:
            self.file.setText(WHAT_FOR)
            self.set_state(f"not saved, {shown_size(len(adapter.content))}")
        else:
            self.file.setText(f"Saved, {shown_size(len(adapter.content))}. {WHAT_FOR}")
            self.file.setToolTip(plain_tip(str(adapter.path)))
            self.set_state(adapter.path.name)

    def _save(self) -> None:
        adapter = self.session.adapter
        if adapter is None:
            return
        dialog = CardDialog(self, adapter)
        if not dialog.exec():
            return
        name = unpathed(dialog.texts()["name"] or adapter.title)[:MAX_FILE_NAME]
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the SALT adapter", f"{name}.salt.safetensors", ADAPTER_FILES
        )
        if path:
            self.session.save_adapter(Path(path), **dialog.texts())


class CardDialog(QDialog):
    """Dialog for the name, description, author and licence of an adapter that is saved."""

    def __init__(self, parent: QWidget, adapter: LoadedAdapter) -> None:
        super().__init__(parent)
        self.setWindowTitle("Describe the adapter")
        form = QFormLayout(self)
        self._lines = {}
        for field in ("name", "description", "author", "license"):
            line = QLineEdit(getattr(adapter.card, field))
            line.setMaxLength(longest(field))
            line.setCursorPosition(0)
            self._lines[field] = line
            form.addRow(field, line)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        connect(buttons.accepted, self.accept)
        connect(buttons.rejected, self.reject)
        form.addRow(buttons)

    def texts(self) -> dict[str, str]:
        """The typed texts by field."""
        return {field: line.text().strip() for field, line in self._lines.items()}
