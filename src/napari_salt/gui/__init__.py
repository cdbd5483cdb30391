"""Qt: the dock widget, and everything that napari's manifest refers to."""
