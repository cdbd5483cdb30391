"""What the user has set in the panels; plain values, turned into the core's configs when work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_salt.core.config import Orientation, Rank, SaltConfig, SegmentConfig, TrainConfig, Unpainted

__all__ = ["Options"]


@dataclass
class Options:
    """Settings of one session; see `TrainConfig`, `SaltConfig` and `SegmentConfig` for their meaning.

    Parameters
    ----------
    go_on
        Whether training goes on from the loaded adapter.
    range_text
        Slices that the panel's range names, such as "0-9, 20".
    probabilities
        Whether a segmentation comes with a probability layer for each class.
    memory_limit
        Bytes of label output above which it is written to disk.
    folder
        Where such output is written.
    """

    base: str = "lite-medsam"
    device: str = "auto"
    preset: str = "balanced"
    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    learning_rate: float = 2e-3
    rank: Rank = 0.5
    lora_rank: int = 8
    targets: tuple[str, ...] = ()
    go_on: bool = True
    unpainted: Unpainted = "background"
    background_label: int = 1
    independent: bool = False
    pixel_scale: float | None = None
    orientation: Orientation = "auto"
    range_text: str = ""
    views: int | None = None
    min_size: int = 0
    fill_holes: bool = False
    smooth: bool = False
    probabilities: bool = False
    memory_limit: int = 2_000_000_000
    folder: Path | None = None

    def train_config(
        self, slices: tuple[int, ...], names: dict[int, str], colors: dict[int, str]
    ) -> TrainConfig:
        """How to train on the painted `slices`."""
        return TrainConfig(
            base=self.base,
            preset=self.preset,
            minutes=self.minutes,
            steps=self.steps,
            slices=slices,
            unpainted=self.unpainted,
            background_label=self.background_label if self.unpainted == "ignore" else None,
            class_names=names,
            class_colors=colors,
            independent=self.independent,
            pixel_scale=self.pixel_scale,
            orientation=self.orientation,
            seed=self.seed,
            device=self.device,
            salt=SaltConfig(rank=self.rank, lora_rank=self.lora_rank, targets=self.targets),
            learning_rate=self.learning_rate,
        )

    def segment_config(self, slices: tuple[int, ...] | None, group: int | None) -> SegmentConfig:
        """How to segment `slices`, by default all, of a stack whose time points have `group` slices."""
        return SegmentConfig(
            slices=slices,
            device=self.device,
            views=self.views,
            min_size=self.min_size,
            fill_holes=self.fill_holes,
            smooth=self.smooth,
            group=group,
        )
