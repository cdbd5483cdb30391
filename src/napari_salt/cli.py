"""The command line: reads arguments, runs a command, turns what goes wrong into one clear line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from napari_salt import __version__
from napari_salt._slice_ranges import parse_slices
from napari_salt.core.config import Runtime
from napari_salt.core.errors import InputError, SaltError

__all__ = ["main"]

BAD_INPUT, INTERRUPTED = 2, 130
STACK = "stack: TIFF, OME-Zarr (a folder) or NIfTI (.nii, .nii.gz)"
OUTPUT = "segmentation to write: .tif, .zarr, .nii or .nii.gz"
VERBS = ("demo", "train", "segment", "evaluate", "suggest", "info", "bases")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        0 done; 2 bad input or arguments; 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for reader in ("tifffile", "nibabel.global"):  # their findings reach the user as errors
        logging.getLogger(reader).setLevel(logging.CRITICAL)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("napari_salt").setLevel(logging.INFO)
    try:
        if _opens_napari(arguments):
            return _open_napari(arguments)
        options = _parser().parse_args(arguments)
        result, interrupted = _command(options.verb)(options)
    except SaltError as error:
        return _fail("; ".join([str(error), *getattr(error, "__notes__", ())]), BAD_INPUT)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted; nothing was written", INTERRUPTED)
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    return INTERRUPTED if interrupted else 0


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"napari-salt: {' '.join(message.split())}\n")
    return code


def _opens_napari(arguments: Sequence[str]) -> bool:
    first = next(iter(arguments), "")
    return first not in VERBS and first not in ("-h", "--help", "--version")


def _open_napari(arguments: Sequence[str]) -> int:
    for argument in arguments:
        if not Path(argument).exists():
            raise InputError(
                f"{argument!r} is neither a command ({', '.join(VERBS)}) nor an existing path; "
                "see napari-salt --help"
            )
    from napari_salt._launcher import launch

    launch([Path(argument) for argument in arguments])
    return 0


def _command(verb: str) -> Callable[[argparse.Namespace], tuple[dict[str, Any], bool]]:
    """The function that runs `verb`; it gives the JSON result, and whether it was interrupted."""
    from napari_salt import _commands, _demo, _segment_command

    commands: dict[str, Callable[[argparse.Namespace], tuple[dict[str, Any], bool]]] = {
        "demo": _demo.demo,
        "train": _commands.train,
        "segment": _segment_command.segment,
        "evaluate": _commands.evaluate,
        "suggest": _commands.suggest,
        "info": _commands.info,
        "bases": _commands.bases,
    }
    return commands[verb]


class _Parser(argparse.ArgumentParser):
    """Tells of a wrong argument in one line, as all errors are told."""

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
    for add in (_add_demo, _add_train, _add_segment, _add_evaluate, _add_others):
        add(verbs)
    return parser


def _add(verbs: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    return parser


def _add_demo(verbs: Any) -> None:
    demo = _add(verbs, "demo", "Train, segment and score the bundled real sample.")
    demo.add_argument("--out", type=Path, default=Path("napari-salt-demo"), metavar="DIR")
    demo.add_argument("--minutes", type=_number, default=2.25, help="training time (default 2.25)")


def _add_train(verbs: Any) -> None:
    train = _add(verbs, "train", "Train an adapter on the painted slices of a stack.")
    train.add_argument("image", type=Path, help=STACK)
    train.add_argument("labels", type=Path, help="stack of whole numbers, 0 is unpainted")
    train.add_argument("--out", type=Path, required=True, metavar="A.safetensors")
    train.add_argument(
        "--base",
        metavar="NAME|CHECKPOINT[@SIZE]",
        help="base model (see napari-salt bases) or a checkpoint file of SAM's kinds; @512 asks for "
        "inputs of 512 pixels instead of the native size; default lite-medsam",
    )
    train.add_argument("--init", type=Path, metavar="A0.safetensors", help="adapter to go on from")
    train.add_argument("--slices", type=_slices, help="slices to learn from, such as 3,12 or 0-9")
    _add_axes(train)
    train.add_argument("--unpainted", default="background", choices=("background", "ignore"))
    train.add_argument("--background-label", type=int, metavar="N")
    train.add_argument("--class-names", type=_names, default={}, metavar="1=nucleus,2=...")
    train.add_argument("--independent", action="store_true", help="slices are unrelated images")
    train.add_argument("--preset", default="balanced", choices=("fast", "balanced", "thorough"))
    train.add_argument("--minutes", type=_number, help="training time, overrides --preset")
    train.add_argument("--steps", type=int, help="number of steps, overrides --preset")
    train.add_argument("--pixel-scale", type=_scale, metavar="S|auto")
    train.add_argument(
        "--orientation",
        default="auto",
        choices=("auto", "fixed", "any"),
        help="fixed: up is up on every slice (anatomy); any: a turned slice is as good (cells); by default "
        "fixed where classes keep their place from slice to slice",
    )
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def _add_segment(verbs: Any) -> None:
    segment = _add(verbs, "segment", "Segment a stack with an adapter.")
    segment.add_argument("image", type=Path, help=STACK)
    segment.add_argument("--adapter", type=Path, required=True, metavar="A.safetensors")
    segment.add_argument("--out", type=Path, required=True, metavar="OUT", help=OUTPUT)
    segment.add_argument(
        "--base", metavar="CHECKPOINT", help="where the adapter's base lies, if that is a local checkpoint"
    )
    segment.add_argument("--slices", type=_slices, help="slices to segment; the others become 0")
    _add_axes(segment)
    segment.add_argument(
        "--views",
        type=int,
        metavar="N",
        help="turned and mirrored views to average, 1 (fastest) to 4; default 4 where the adapter "
        "was trained with turns, else 1",
    )
    segment.add_argument(
        "--min-size", type=int, default=0, metavar="N", help="drop objects of fewer pixels in a slice"
    )
    segment.add_argument("--fill-holes", action="store_true", help="fill what one class encloses")
    segment.add_argument("--smooth", action="store_true", help="average neighbouring slices")
    segment.add_argument(
        "--runtime",
        choices=get_args(Runtime),
        default="auto",
        help="what computes on a CPU; by default OpenVINO where it is installed and there is enough to do",
    )
    segment.add_argument(
        "--probabilities",
        type=Path,
        metavar="OUT2",
        help="write the probabilities of background and classes as well (CZYX): .zarr or .tif",
    )
    segment.add_argument(
        "--probabilities-dtype",
        default="float16",
        choices=("float16", "uint8"),
        help="float16 (default), or uint8, where 255 is 1",
    )
    segment.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    segment.add_argument(
        "--dask", metavar="ADDRESS", help="Dask scheduler whose workers do it; OME-Zarr in and out"
    )
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def _add_evaluate(verbs: Any) -> None:
    evaluate = _add(verbs, "evaluate", "Score a segmentation: Dice, IoU and HD95 per class.")
    evaluate.add_argument("prediction", type=Path)
    evaluate.add_argument("labels", type=Path)
    evaluate.add_argument("--slices", type=_slices, help="slices to score, such as 3,12 or 0-9")
    evaluate.add_argument("--classes", type=_slices, help="label values to score; default all")
    evaluate.add_argument("--mask", type=Path, help="stack; only its nonzero pixels count")
    evaluate.add_argument("--3d", action="store_true", dest="three_d", help="HD95 in 3D")


def _add_others(verbs: Any) -> None:
    suggest = _add(verbs, "suggest", "Say which slices to paint next, best first.")
    suggest.add_argument("image", type=Path, help=STACK)
    suggest.add_argument("--adapter", type=Path, required=True, metavar="A.safetensors")
    _add_axes(suggest)
    suggest.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    _add(verbs, "info", "Tell what an adapter is; runs no code from it.").add_argument("adapter", type=Path)
    bases = _add(verbs, "bases", "List the base models, and where their weights are.")
    bases.add_argument("--download", metavar="NAME", help="download the weights of this one first")


def _add_axes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--axes", help="what the file's axes are, such as ZYX, ZCYX, TZYX or NYXS; slices first for NIfTI"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="channel to use, from 0")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _scale(text: str) -> float | None:
    return None if text == "auto" else _number(text)


def _slices(text: str) -> tuple[int, ...]:
    try:
        return parse_slices(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _names(text: str) -> dict[int, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(value.strip().isdigit() and name.strip() for value, _, name in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1=nucleus,2=membrane")
    return {int(value): name.strip() for value, _, name in pairs}
