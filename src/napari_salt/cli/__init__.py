"""The command line: reads arguments, runs a command, reports an error in one line."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from napari_salt import __version__
from napari_salt.cli._adapter_arguments import add_adapters, add_amount, add_export, add_texts
from napari_salt.cli._completion import SHELLS, complete, is_asked
from napari_salt.cli._option_arguments import add_options, parser_of, read_by
from napari_salt.cli._terminal import telling, terminable
from napari_salt.io._paths import is_there
from napari_salt.io._table import offered, what_is_read
from napari_salt.results.kinds import BY
from napari_salt.terms.config import SegmentConfig, TrainConfig
from napari_salt.terms.errors import InputError, SaltError
from napari_salt.terms.options import options_of
from napari_salt.terms.slice_ranges import parse_slices
from napari_salt.terms.text import PlainFormatter, printable
from napari_salt.terms.threads import SHORT_WAITS
from napari_salt.terms.units import parse_length, parse_lengths

__all__ = ["main"]

READERS = ("tifffile", "nibabel.global", "pydicom", "highdicom")
"""Loggers of libraries; what they find wrong is reported as our errors."""
BAD_INPUT, PARTLY, INTERRUPTED, UNREAD = 2, 3, 130, 141
VERBS = {
    "demo": "_demo",
    "train": "_train",
    "segment": "_segment",
    "evaluate": "_evaluate",
    "measure": "_measure",
    "report": "_report",
    "run": "_run",
    "suggest": "_suggest",
    "info": "_about",
    "bases": "_about",
    "adapters": "_adapters",
    "export": "_export",
    "completion": "_completion",
}
"""Commands and their modules in `napari_salt.cli`, which are imported when a command runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0 done; 2 bad input or arguments; 3 `run` is done, but for some files; 130 interrupted; 141 the reader
        of the output has closed the pipe.
    """
    os.environ.update({**SHORT_WAITS, **os.environ})
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may have letters that the encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    _log()
    try:
        if is_asked():
            complete(_parser())
        if _opens_napari(arguments):
            return _open_napari(arguments)
        options = _parser().parse_args(arguments)
        quiet = getattr(options, "quiet", False)
        _log(quiet=quiet, verbose=getattr(options, "verbose", False))
        with terminable(), telling(quiet=quiet):
            result, interrupted = _command(options.verb)(options)
        if options.json:
            sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    except (SaltError, RuntimeError, MemoryError) as error:
        told = str(error) if isinstance(error, SaltError) else _said_of_device(error)
        if not told:
            raise
        return _fail("; ".join([told, *getattr(error, "__notes__", ())]), BAD_INPUT)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted; nothing was written", INTERRUPTED)
    except BrokenPipeError:  # as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return UNREAD
    if interrupted:
        return INTERRUPTED
    return PARTLY if result.get("failed") else 0


def _log(*, quiet: bool = False, verbose: bool = False) -> None:
    """Let warnings, notes (unless `quiet`) and details (if `verbose`) of ours appear on stderr."""
    for reader in READERS:
        logging.getLogger(reader).setLevel(logging.CRITICAL)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logging.getLogger("napari_salt").setLevel(level)


def _said_of_device(error: Exception) -> str:
    """What to tell of an error that a device makes, or ""."""
    if "torch" not in sys.modules:
        return ""
    from napari_salt.core.devices import said_of_device

    return said_of_device(error)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"napari-salt: {printable(' '.join(message.split()))}\n")
    return code


def _opens_napari(arguments: Sequence[str]) -> bool:
    first = next(iter(arguments), "")
    return first not in VERBS and first not in ("-h", "--help", "--version")


def _open_napari(arguments: Sequence[str]) -> int:
    for argument in arguments:
        if not is_there(Path(argument)):
            raise InputError(
                f"{argument!r} is neither a command ({', '.join(VERBS)}) nor an existing path; "
                "see napari-salt --help"
            )
    from napari_salt.gui._launcher import launch

    launch([Path(argument) for argument in arguments])
    return 0


def _command(verb: str) -> Callable[[argparse.Namespace], tuple[dict[str, Any], bool]]:
    """The function that runs `verb`; it returns the JSON result, and whether it was interrupted."""
    module = import_module(f"napari_salt.cli.{VERBS[verb]}")
    command: Callable[[argparse.Namespace], tuple[dict[str, Any], bool]] = getattr(module, verb)
    return command


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, as all errors are reported."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="napari-salt",
        description="Adapt Segment Anything to a stack from a few painted slices.",
        epilog="Without a command, the arguments are files to open in napari.",
    )
    parser.add_argument("--version", action="version", version=f"napari-salt {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    adders = _add_demo, _add_train, _add_segment, _add_evaluate, _add_measure, _add_report, _add_run
    for add in (*adders, _add_others, add_adapters, add_export):
        add(verbs)
    return parser


def _add(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    return parser


def _add_long(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add a command that takes a while, and so shows how far it is."""
    parser = _add(verbs, name, text)
    add_amount(parser)
    return parser


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and what it takes; write nothing"
    )


def _add_demo(verbs: Any) -> None:
    demo = _add_long(verbs, "demo", "Train, segment and score the bundled real sample.")
    demo.add_argument("--out", type=Path, default=Path("napari-salt-demo"), metavar="DIR")
    minutes = options_of(TrainConfig)["minutes"]
    demo.add_argument(
        "--minutes",
        type=parser_of(minutes),
        default=2.25,
        help="training time, such as 3 or 90s (default 2.25)",
    )


def _add_train(verbs: Any) -> None:
    train = _add_long(verbs, "train", "Train an adapter on the painted slices of a stack.")
    train.add_argument("image", type=Path, help=f"stack: {what_is_read()}")
    train.add_argument("labels", type=Path, help="stack of whole numbers, 0 is unpainted")
    train.add_argument(
        "--stack",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("IMAGE", "LABELS"),
        help="another stack to learn from as well, with its labels; may be given again and again",
    )
    train.add_argument("--out", type=Path, required=True, metavar="A.safetensors")
    train.add_argument("--init", type=Path, metavar="A0.safetensors", help="adapter to go on from")
    add_texts(train)
    _add_resample(train)
    _add_axes(train)
    add_options(train, TrainConfig)
    _add_dry_run(train)


def _suffixes(*, channels: bool = False) -> str:
    return ", ".join(offered(channels=channels))


def _add_segment(verbs: Any) -> None:
    segment = _add_long(verbs, "segment", "Segment a stack with an adapter.")
    segment.add_argument("image", type=Path, help=f"stack: {what_is_read()}")
    segment.add_argument("--adapter", type=Path, required=True, metavar="A.safetensors")
    segment.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help=f"segmentation to write: {_suffixes()}",
    )
    segment.add_argument(
        "--base", metavar="CHECKPOINT", help="where the adapter's base lies, if that is a local checkpoint"
    )
    _add_axes(segment)
    add_options(segment, SegmentConfig)
    _add_dry_run(segment)
    segment.add_argument(
        "--probabilities",
        type=Path,
        metavar="OUT2",
        help=f"write the probabilities of background and classes as well (CZYX): {_suffixes(channels=True)}",
    )
    segment.add_argument(
        "--probabilities-dtype",
        default="float16",
        choices=("float16", "uint8"),
        help="float16 (default), or uint8, where 255 is 1",
    )
    segment.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    segment.add_argument(
        "--unreadable",
        default="stop",
        choices=("stop", "skip"),
        help="at a slice that cannot be read: stop (default), or skip it, which is 0 then; exit code 3",
    )
    segment.add_argument(
        "--dask", metavar="ADDRESS", help="Dask scheduler whose workers do it; OME-Zarr in and out"
    )


def _add_evaluate(verbs: Any) -> None:
    evaluate = _add_long(verbs, "evaluate", "Score a segmentation: Dice, IoU and HD95 per class, or objects.")
    evaluate.add_argument("prediction", type=Path)
    evaluate.add_argument("labels", type=Path)
    evaluate.add_argument("--slices", type=read_by(parse_slices), help="slices to score, such as 3,12 or 0-9")
    evaluate.add_argument(
        "--axes", help="what the files' axes are, such as ZYX or TZYX; slices first for NIfTI"
    )
    _add_resample(evaluate)
    evaluate.add_argument("--classes", type=read_by(parse_slices), help="label values to score; default all")
    evaluate.add_argument("--mask", type=Path, help="stack; only its nonzero pixels count")
    evaluate.add_argument("--3d", action="store_true", dest="three_d", help="HD95 in 3D")
    evaluate.add_argument(
        "--objects",
        action="store_true",
        help="values are numbers of objects: average precision at IoU 0.5 and panoptic quality",
    )
    evaluate.add_argument(
        "--each-slice", action="store_true", help="with --objects: objects end with their slice"
    )


def _add_measure(verbs: Any) -> None:
    measure = _add_long(
        verbs, "measure", "Measure classes or objects (volumes, intensities, places) as a table."
    )
    measure.add_argument("labels", type=Path, help=f"segmentation: {what_is_read()}")
    measure.add_argument("--image", type=Path, help="stack whose intensities are measured")
    measure.add_argument("--adapter", type=Path, metavar="A.safetensors", help="names classes as it does")
    measure.add_argument(
        "-o", "--out", type=Path, metavar="TABLE.csv", help="table to write (default: print it)"
    )
    _add_measuring(measure)


def _add_report(verbs: Any) -> None:
    report = _add_long(verbs, "report", "Write an HTML report on an adapter and on what it has segmented.")
    report.add_argument("adapter", type=Path, metavar="ADAPTER")
    report.add_argument("image", type=Path, nargs="?", help=f"stack that was segmented: {what_is_read()}")
    report.add_argument("labels", type=Path, nargs="?", help="its segmentation")
    report.add_argument("-o", "--out", type=Path, required=True, metavar="REPORT.html")
    _add_measuring(report)


def _add_run(verbs: Any) -> None:
    run = _add_long(verbs, "run", "Carry out a project file: train, segment many images, table, report.")
    run.add_argument("project", type=Path, metavar="PROJECT.toml", help="see docs/project.md")
    _add_dry_run(run)


def _add_measuring(measure: argparse.ArgumentParser) -> None:
    """Add the flags that say what is measured in which units."""
    measure.add_argument(
        "--by",
        default="classes",
        choices=BY,
        help="one row for each class (default); for each object, which is a connected piece of a class; or "
        "for each number of an object, as segment --objects writes them",
    )
    measure.add_argument(
        "--independent",
        action="store_true",
        help="slices are unrelated images: areas, no volumes, and objects end with their slice",
    )
    add_options(measure, TrainConfig, ("class_names",))
    measure.add_argument(
        "--axes", help="what the files' axes are, such as ZYX or TZYX; slices first for NIfTI"
    )
    measure.add_argument("--channel", type=int, metavar="N", help="channel of the image, from 0")
    measure.add_argument(
        "--pixel-size",
        type=read_by(parse_lengths),
        metavar="Z,Y,X",
        help="size of a voxel, such as 2,0.5,0.5 (micrometres) or 1.2mm,0.8mm,0.8mm, of images 0.5 or "
        "0.4,0.5, where the file does not say it or is wrong",
    )
    measure.add_argument("--unit", choices=("um", "mm"), help="unit of the table (default: that of the file)")


def _add_others(verbs: Any) -> None:
    suggest = _add_long(verbs, "suggest", "Say which slices to paint next, best first.")
    suggest.add_argument("image", type=Path, help=f"stack: {what_is_read()}")
    suggest.add_argument("--adapter", type=Path, required=True, metavar="A.safetensors")
    _add_axes(suggest)
    add_options(suggest, SegmentConfig, ("device",))
    _add(verbs, "info", "Tell what an adapter is; runs no code from it.").add_argument("adapter", type=Path)
    bases = _add_long(verbs, "bases", "List the base models, and where their weights are.")
    bases.add_argument("--download", metavar="NAME", help="download the weights of this one first")
    shells = _add(verbs, "completion", "Print what a shell needs to complete commands and options.")
    shells.add_argument("shell", choices=SHELLS)


def _add_axes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--axes", help="what the file's axes are, such as ZYX, ZCYX, TZYX or NYXS; slices first for NIfTI"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="channel to use, from 0")
    parser.add_argument(
        "--series",
        metavar="N|NAME",
        help="which image of a file or folder with several: its number from 0, or a part of its name (DICOM "
        "series, images of a TIFF, volumes of a 4D NIfTI, scenes of a CZI, fields of a plate)",
    )
    parser.add_argument(
        "--pixel-size",
        type=read_by(parse_length),
        metavar="LENGTH",
        help="side of the image's pixels, such as 0.5 (micrometres), 250nm or 1.2mm, where the file does not "
        "say it or is wrong",
    )


def _add_resample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resample",
        action="store_true",
        help="where labels lie on another grid than the image, take the nearest voxels (otherwise an error)",
    )
