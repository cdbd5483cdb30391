"""Arguments of ``napari-salt adapters``, and the texts of an adapter's file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_adapters", "add_amount", "add_export", "add_texts"]

SOURCE = (
    "file, folder, https://... (with #sha256=HEX after it to check what is downloaded), a Zenodo record "
    "(zenodo:NUMBER, its address or DOI), or a repository of Hugging Face (huggingface:OWNER/NAME)"
)
ADAPTER = "name in the library, or file"
TEXTS = {
    "name": ("--name", "name of the adapter in its file"),
    "author": ("--author", "who has made the adapter, for its file"),
    "license": ("--license", "licence of the adapter, such as CC-BY-4.0, for its file"),
    "description": ("--note", "what the adapter is for, for its file"),
}


def add_amount(parser: argparse.ArgumentParser) -> None:
    """Add how much a command shows that takes a while."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-q", "--quiet", action="store_true", help="show results, warnings and errors only")
    group.add_argument("-v", "--verbose", action="store_true", help="show settings and steps as well")


def add_texts(parser: argparse.ArgumentParser) -> None:
    """Add the texts that an adapter's file holds about it; None where one is not given."""
    for field, (flag, text) in TEXTS.items():
        parser.add_argument(flag, dest=field, metavar="TEXT", help=text)


def add_adapters(verbs: Any) -> None:
    """Add ``adapters`` and its actions."""
    text = "Keep adapters in a library, mix them, and give them to others."
    parser = verbs.add_parser("adapters", help=text, description=text)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for add in (_add_list, _add_add, _add_remove, _add_show, _add_mix, _add_publish):
        action: argparse.ArgumentParser = add(actions)
        action.add_argument("--json", action="store_true", help="print one JSON object as last line")


def add_export(verbs: Any) -> None:
    """Add ``export``."""
    text = "Write the adapted model for other programs."
    parser = verbs.add_parser("export", help=text, description=text)
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help=ADAPTER)
    parser.add_argument(
        "--to",
        required=True,
        choices=("segment-anything", "onnx", "bioimageio"),
        help="a checkpoint of the package segment-anything (.pth), an ONNX file (.onnx), or a package of "
        "bioimage.io (.zip)",
    )
    parser.add_argument(
        "--image",
        type=Path,
        help="for bioimageio: stack whose middle slice goes into the package as test and cover; give one "
        "that others may have (default: a bundled one)",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")
    parser.add_argument("--base", metavar="CHECKPOINT", help="where a local base lies")
    add_amount(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    return parser


def _add_list(actions: Any) -> argparse.ArgumentParser:
    parser = _action(actions, "list", "List the adapters of the library.")
    parser.add_argument("words", nargs="*", help="only those with all these words in names, classes or texts")
    parser.add_argument(
        "--for",
        dest="image",
        type=Path,
        metavar="IMAGE",
        help="sort by fit to this image, best first",
    )
    parser.add_argument("--axes", help="axes of the image, as for segment")
    parser.add_argument("--channel", type=int, metavar="N", help="channel of the image, from 0")
    return parser


def _add_add(actions: Any) -> argparse.ArgumentParser:
    parser = _action(actions, "add", "Copy or download adapters into the library.")
    parser.add_argument("source", help=SOURCE)
    parser.add_argument("--as", dest="called", metavar="NAME", help="name in the library, for one adapter")
    parser.add_argument("--replace", action="store_true", help="replace another adapter of the same name")
    add_texts(parser)
    return parser


def _add_remove(actions: Any) -> argparse.ArgumentParser:
    parser = _action(actions, "remove", "Delete an adapter from the library.")
    parser.add_argument("adapter", metavar="NAME")
    return parser


def _add_show(actions: Any) -> argparse.ArgumentParser:
    parser = _action(actions, "show", "Tell what an adapter is, as info does.")
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help=ADAPTER)
    return parser


def _add_mix(actions: Any) -> argparse.ArgumentParser:
    parser = _action(
        actions, "mix", "Mix adapters of one base and the same classes, or change how strong one is."
    )
    parser.add_argument("adapters", type=Path, nargs="+", metavar="ADAPTER", help=ADAPTER)
    parser.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="one per adapter; default: equal, 1 in all"
    )
    parser.add_argument(
        "--strength", type=float, default=1.0, metavar="S", help="0 (the base) to 1.5; default 1"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="C.safetensors")
    add_texts(parser)
    return parser


def _add_publish(actions: Any) -> argparse.ArgumentParser:
    parser = _action(
        actions,
        "publish",
        "Put an adapter on Hugging Face, or into a draft on Zenodo that you publish there.",
    )
    parser.add_argument("adapter", type=Path, metavar="ADAPTER", help=ADAPTER)
    parser.add_argument(
        "--to",
        required=True,
        metavar="PLACE",
        help="huggingface:OWNER/NAME (token: hf auth login, or HF_TOKEN), or zenodo (token: ZENODO_TOKEN)",
    )
    parser.add_argument("--private", action="store_true", help="a new repository is for its owner alone")
    parser.add_argument(
        "--dry-run", action="store_true", help="send nothing, and print the page that would go along"
    )
    add_texts(parser)
    return parser
