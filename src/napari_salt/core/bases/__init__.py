"""Base models: recognised, built, loaded, downloaded."""
