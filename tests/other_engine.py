"""The engine as `napari_salt.engine._serve` starts it, but with another base registered, or little memory.

A program: ``python other_engine.py [--base PICKLED_SPEC] [--megabytes N]``; N comes on top of what it
has with all libraries loaded.
"""

import argparse
import importlib
import pickle
import sys
from pathlib import Path

from napari_salt.core.bases import download
from napari_salt.engine import _serve
from napari_salt.terms import registry


def command(folder, *, base=None, megabytes=None):
    """How to start it; `folder` takes the spec of the base."""
    arguments = [sys.executable, __file__]
    if base is not None:
        (folder / "base.pickle").write_bytes(pickle.dumps(base))
        arguments += ["--base", str(folder / "base.pickle")]
    if megabytes is not None:
        arguments += ["--megabytes", str(megabytes)]
    return arguments


def limit_memory(megabytes):
    """Let the process have `megabytes` more than it has with all libraries loaded."""
    import resource

    import psutil
    import torch

    for name in ("forest", "training"):
        importlib.import_module(f"napari_salt.core.train.{name}")
    torch.set_num_threads(1)
    most = psutil.Process().memory_info().vms + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path)
    parser.add_argument("--megabytes", type=int)
    options = parser.parse_args()
    if options.base:
        spec = pickle.loads(options.base.read_bytes())
        registry.BASES[spec.name] = spec
        download.PAUSE = 0.01
    if options.megabytes:
        limit_memory(options.megabytes)
    _serve.main()


if __name__ == "__main__":
    main()
