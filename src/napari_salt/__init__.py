"""Adapt Segment Anything to image stacks from a few painted slices, with SALT adapters.

Importing this package is cheap: each public name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_salt.core.adapter import Adapter
    from napari_salt.core.config import SaltConfig, SegmentConfig, TrainConfig
    from napari_salt.core.errors import SaltError
    from napari_salt.core.events import SliceResult, SliceUncertainty, TrainingEvent
    from napari_salt.core.inference import segment, segmentation_events
    from napari_salt.core.metrics import Evaluation, evaluate
    from napari_salt.core.training import train, training_events
    from napari_salt.core.uncertainty import suggest, uncertainty_events

__all__ = [
    "Adapter",
    "Evaluation",
    "SaltConfig",
    "SaltError",
    "SegmentConfig",
    "SliceResult",
    "SliceUncertainty",
    "TrainConfig",
    "TrainingEvent",
    "evaluate",
    "segment",
    "segmentation_events",
    "suggest",
    "train",
    "training_events",
    "uncertainty_events",
]

__version__ = "0.1.0"

_MODULE_OF = {
    "Adapter": "adapter",
    "Evaluation": "metrics",
    "SaltConfig": "config",
    "SaltError": "errors",
    "SegmentConfig": "config",
    "SliceResult": "events",
    "SliceUncertainty": "events",
    "TrainConfig": "config",
    "TrainingEvent": "events",
    "evaluate": "metrics",
    "segment": "inference",
    "segmentation_events": "inference",
    "suggest": "uncertainty",
    "train": "training",
    "training_events": "training",
    "uncertainty_events": "uncertainty",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"napari_salt.core.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
