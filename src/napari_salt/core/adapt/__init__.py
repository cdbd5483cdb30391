"""SALT and the segmenter: how a base model is adapted, and the adapter as a value."""
