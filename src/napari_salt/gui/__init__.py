"""Qt: the dock widget, and all that napari's manifest names."""
