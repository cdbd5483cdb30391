"""The settings of the panels: the core's configs, and settings of the plugin alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.options import changed

__all__ = ["Options", "Purpose"]

Purpose = Literal["train", "segment"]


@dataclass
class Options:
    """Settings of one session.

    Parameters
    ----------
    train, segment
        How to train and to segment; slices, classes and time points are added when a job starts.
    go_on
        Whether training goes on from the loaded adapter.
    range_text
        Slices of the panel's range as text, such as "0-9, 20".
    probabilities
        Whether a segmentation also makes a probability layer for each class.
    uncertainty
        Whether a segmentation also makes a layer that shows where the model is unsure.
    memory_limit
        Bytes of label output above which it is written to disk.
    folder
        Where such output is written.
    """

    train: TrainConfig = field(default_factory=TrainConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    go_on: bool = True
    range_text: str = ""
    probabilities: bool = False
    uncertainty: bool = False
    memory_limit: int = 2_000_000_000
    folder: Path | None = None

    @property
    def base(self) -> str:
        """Base model to train on, and for prompts."""
        return self.train.base

    @base.setter
    def base(self, base: str) -> None:
        self.change("train", base=base)

    @property
    def device(self) -> str:
        """Device of all computations, such as "auto", "cpu" or "cuda"."""
        return self.train.device

    @device.setter
    def device(self, device: str) -> None:
        self.change("train", device=device)
        self.change("segment", device=device)

    @property
    def background_label(self) -> int | None:
        """Label value of painted background, if unpainted pixels are unknown; else None."""
        return (self.train.background_label or 1) if self.train.unpainted == "ignore" else None

    def values(self, purpose: Purpose) -> TrainConfig | SegmentConfig:
        """The config of training or of segmenting."""
        return self.train if purpose == "train" else self.segment

    def change(self, purpose: Purpose, **values: Any) -> None:
        """Set options of training or of segmenting.

        Raises
        ------
        InputError
            If a value is not allowed; then nothing is changed.
        """
        if purpose == "segment":
            self.segment = changed(self.segment, values)
            return
        if values.get("unpainted") == "background":
            values["background_label"] = None  # it has no meaning then
        self.train = changed(self.train, values)

    def train_config(
        self,
        slices: tuple[int, ...] | None,
        names: Mapping[int, str],
        colors: Mapping[int, str],
        group: int | None = None,
    ) -> TrainConfig:
        """The config of a training.

        Parameters
        ----------
        slices
            Slices to learn from; None: all that are painted.
        names, colors
            Name and colour ("#rrggbb") by label value.
        group
            Slices of one time point; None: all.
        """
        return replace(
            self.train,
            slices=slices,
            background_label=self.background_label,
            class_names=names,
            class_colors=colors,
            group=group,
        )

    def segment_config(self, slices: tuple[int, ...] | None, group: int | None) -> SegmentConfig:
        """The config of segmenting `slices` (None: all); a time point has `group` slices (None: all)."""
        return replace(self.segment, slices=slices, group=group)
