"""The engine: numpy, scipy, scikit-image and torch; it knows neither Qt nor napari."""
