"""The process beside napari that computes: its client, its server, and what they say to each other."""
