"""``python -m napari_salt``: the command line, for programs that know a Python but no scripts."""

import sys

from napari_salt.cli import main

sys.exit(main())
