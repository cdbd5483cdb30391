"""What all parts share: settings, events, errors, the adapter's card. Imports neither torch nor napari."""
