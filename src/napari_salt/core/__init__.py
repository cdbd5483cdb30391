"""The engine: numpy, scipy, scikit-image and torch; imports neither Qt nor napari."""
