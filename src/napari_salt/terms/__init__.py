"""What all parts need to know: settings, events, errors, the adapter's card. No torch, no napari."""
