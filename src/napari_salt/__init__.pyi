from ._api import evaluate, segment, suggest, train, training_events
from .cli._project import ProjectRun, run
from .core.adapt.adapter import Adapter
from .core.adapt.mixing import mix
from .core.metrics import Evaluation
from .core.object_metrics import ObjectScore, evaluate_objects
from .core.segment.stack import segmentation_events
from .core.segment.uncertainty import uncertainty_events
from .io import Stack, read_labels, read_stack, write_labels
from .results.measure import measure
from .results.report import report
from .results.table import Table
from .terms.config import SaltConfig, SegmentConfig, TrainConfig
from .terms.errors import SaltError
from .terms.events import SliceResult, SliceUncertainty, TrainingEvent
from .terms.project import Project
from .terms.project_parts import ProjectAdapter, ProjectImages, ProjectPair, ProjectResults

__all__ = [
    "Adapter",
    "Evaluation",
    "ObjectScore",
    "Project",
    "ProjectAdapter",
    "ProjectImages",
    "ProjectPair",
    "ProjectResults",
    "ProjectRun",
    "SaltConfig",
    "SaltError",
    "SegmentConfig",
    "SliceResult",
    "SliceUncertainty",
    "Stack",
    "Table",
    "TrainConfig",
    "TrainingEvent",
    "evaluate",
    "evaluate_objects",
    "measure",
    "mix",
    "read_labels",
    "read_stack",
    "report",
    "run",
    "segment",
    "segmentation_events",
    "suggest",
    "train",
    "training_events",
    "uncertainty_events",
    "write_labels",
]

__version__: str
