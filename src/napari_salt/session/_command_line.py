"""The command lines that repeat what the window does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_salt.session._layer_files import SERIES
from napari_salt.session._layers import FILE, OPENING
from napari_salt.terms.arguments import arguments_of, command_line
from napari_salt.terms.slice_ranges import shown_slices
from napari_salt.terms.text import unpathed

if TYPE_CHECKING:
    from napari_salt.session._image_source import ImageSource
    from napari_salt.session._state import SessionState

__all__ = ["command_lines"]

IMAGE, LABELS, ADAPTER = "IMAGE", "LABELS", "ADAPTER.safetensors"
"""What stands for files that are not known."""


def command_lines(session: SessionState) -> str:
    """Lines of a shell that train and segment with the session's settings; remarks begin with #.

    Where a layer came from a file, its path is given; else a word in capitals stands for it, with a remark.
    """
    lines = _Lines(session)
    train, segment = lines.train(), lines.segment()
    return "\n".join([*lines.remarks, train, segment, ""])


class _Lines:
    """The lines of one session, and remarks on them."""

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self.remarks: list[str] = []
        image = session.source.layer if session.source else None
        self._name = (unpathed(image.name) if image else "stack").partition(".")[0] or "stack"
        self._out = f"{self._name}.salt.safetensors"

    def train(self) -> str:
        """The line that trains."""
        session, source = self._session, self._session.source
        arguments = ["napari-salt", "train", self._image(source), self._labels(session.labels)]
        for number, pair in enumerate(session.other_pairs, start=2):
            arguments += ["--stack", self._image(pair.source, number), self._labels(pair.labels, number)]
        arguments += ["--out", self._out]
        if session.options.go_on and session.adapter is not None:
            path = session.adapter.path
            if path is None:
                self._remark(f"{ADAPTER}: the adapter in use, saved by 5 Share")
            arguments += ["--init", ADAPTER if path is None else str(path)]
        names = {info.value: info.name for info in session.classes}
        config = session.options.train_config(self._slices(), self._namable(names), {})
        return command_line(
            [*arguments, *self._chosen(source), *arguments_of(replace(config, plane=session.plane))]
        )

    def segment(self) -> str:
        """The line that segments the stack."""
        session, source = self._session, self._session.source
        arguments = ["napari-salt", "segment", self._image(source), "--adapter", self._out]
        arguments += ["--out", f"{self._name}_segmented.tif"]
        if session.options.probabilities:
            arguments += ["--probabilities", f"{self._name}_probabilities.zarr"]
        if session.strength != 1:
            mixing = f"napari-salt adapters mix {self._out} --strength {session.strength:g} -o FILE"
            self._remark(f"the adapter of this strength: {mixing}")
        return command_line([*arguments, *self._chosen(source), *arguments_of(session.options.segment)])

    def _remark(self, text: str) -> None:
        line = f"# {' '.join(text.split())}"
        if line not in self.remarks:
            self.remarks.append(line)

    def _image(self, source: ImageSource | None, number: int = 1) -> str:
        word = IMAGE if number == 1 else f"{IMAGE}{number}"
        if source is None:
            self._remark(f"{word}: the file of the stack")
            return word
        if source.level:
            self._remark(
                f"the window works on level {source.level} of {source.layer.name}, this on its finest"
            )
        return self._path(source.layer, word)

    def _labels(self, layer: Layer | None, number: int = 1) -> str:
        word = LABELS if number == 1 else f"{LABELS}{number}"
        if layer is None:
            self._remark(f"{word}: the file of the painted labels")
            return word
        path = self._path(layer, word)
        if path != word:
            self._remark(f"{path}: if you have painted since it was opened, save the layer first")
        return path

    def _path(self, layer: Layer, word: str) -> str:
        path = layer.metadata.get(FILE) or layer.source.path
        if not path:
            self._remark(
                f"{word}: no file of the layer {layer.name} is known; save it (File > Save Selected Layers), "
                "and put its path here"
            )
        return str(path or word)

    def _chosen(self, source: ImageSource | None) -> list[str]:
        """What is chosen of the image's file: one of several images, and a channel."""
        if source is None:
            return []
        metadata = source.layer.metadata
        how = {"series": metadata.get(SERIES), **metadata.get(OPENING, {})}
        chosen = {name.replace("_", "-"): value for name, value in how.items() if value is not None}
        arguments = [text for name, value in chosen.items() for text in (f"--{name}", str(value))]
        if len(source.channels) == 1 and source.channel_axis is not None:
            arguments += ["--channel", str(source.channels[0])]
        elif source.channels:
            self._remark("the window takes several channels as colour; a file for that has them as RGB")
        return arguments

    def _slices(self) -> tuple[int, ...] | None:
        """Slices to name: those that are complete without paint; None if there are none."""
        session = self._session
        painted = session.paint.slices if session.paint else ()
        default = session.options.train.unpainted
        unlike = [i for i, meaning in session.marks.items() if i in painted and meaning != default]
        if unlike:
            other = "strokes" if default == "background" else "complete"
            self._remark(
                f"in the window, slices {shown_slices(unlike)} are marked as {other}; files have no marks"
            )
        empty = [i for i, meaning in session.marks.items() if i not in painted and meaning == "background"]
        return tuple(sorted({*painted, *empty})) if empty and default == "background" else None

    def _namable(self, names: dict[int, str]) -> dict[int, str]:
        """Names that the command line can take, without those that it gives by itself."""
        background = self._session.options.background_label
        found = {
            value: name for value, name in names.items() if name != f"class {value}" and value != background
        }
        odd = [name for name in found.values() if "," in name]
        if odd:
            self._remark(f"names with a comma are left out: {'; '.join(odd)}")
        return {value: name for value, name in found.items() if "," not in name}
