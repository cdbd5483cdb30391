"""The process beside napari that computes: its client, its server, and their messages."""
