"""What follows a segmentation: tables of classes and objects, and the report. No torch, Qt or napari."""
