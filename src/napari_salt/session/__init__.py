"""The state of one viewer and its jobs: napari's layers, no widgets."""
