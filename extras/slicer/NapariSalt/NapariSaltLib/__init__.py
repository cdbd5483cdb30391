"""What the module does without 3D Slicer: command lines of napari-salt, and their runs in the background."""
