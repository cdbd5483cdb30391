"""The report on the adapter and the chosen result, in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_salt.session._layers import adapter_of, options_of_result
from napari_salt.session._placed import Placed
from napari_salt.terms.errors import InputError, SaltError

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Labels

    from napari_salt.session._adapter_file import LoadedAdapter
    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._measuring import Measuring
    from napari_salt.session._state import SessionState

__all__ = ["Reporting"]


class Reporting:
    """Writes reports.

    Parameters
    ----------
    session
        The session.
    measuring
        Its tables of results.

    Attributes
    ----------
    path
        The report that was written last; None: none yet.
    """

    def __init__(self, session: SessionState, measuring: Measuring) -> None:
        self._session, self._measuring = session, measuring
        self.path: Path | None = None

    @property
    def cannot(self) -> str:
        """Why no report can be written now, or ""."""
        return self._session.busy or self._session.no_adapter

    def start(self, path: Path) -> None:
        """Write the report to `path`; the chosen result is measured first, unless it has been."""
        session, measuring = self._session, self._measuring
        if self.cannot or session.adapter is None:
            session.problem.emit(self.cannot, "report")
            return
        path = path if path.suffix.lower() in (".html", ".htm") else path.with_name(f"{path.name}.html")
        layer = measuring.layer
        if layer is None or not adapter_of(layer):
            self._write(path, None)
        elif adapter_of(layer) != session.adapter.digest:
            told = f"the layer {layer.name!r} was made with another adapter; load that, or segment again"
            session.problem.emit(told, "report")
        elif measuring.has_measured(layer):
            self._write(path, layer)
        else:
            measuring.start("objects" if measuring.numbers else "classes", lambda: self._write(path, layer))

    def _write(self, path: Path, layer: Labels | None) -> None:
        session = self._session
        try:
            if session.adapter is None:
                raise InputError(session.no_adapter)
            self._write_html(path, session.adapter, session.source, layer)
        except SaltError as error:
            session.problem.emit(str(error), "report")
            return
        self.path = path
        session.changed.results.emit()

    def _write_html(
        self, path: Path, adapter: LoadedAdapter, source: ImageSource | None, layer: Labels | None
    ) -> None:
        from napari_salt.results.report import Found, report_html
        from napari_salt.results.table import write_text

        found = None
        if source is not None:
            placed = None if layer is None else Placed(source, layer)
            found = Found(
                source.stack,
                None if placed is None else placed.stack,
                None if placed is None else self._measuring.classes,
                None if placed is None else self._measuring.objects,
                source.layer.name,
                () if placed is None else self._measuring.infos(placed),
                {} if layer is None else options_of_result(layer),
            )
        write_text(path, report_html(adapter.card, found))
