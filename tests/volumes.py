"""Volumes that lie askew, as SimpleITK writes them, and what must be said of files that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from napari_salt.io import read_stack
from napari_salt.terms.card import ClassInfo
from napari_salt.terms.errors import InputError
from stacks import noise

SPACING, ORIGIN = (2.5, 0.5, 0.75), (3.0, 4.0, 5.0)
ANGLE = np.deg2rad(12)
TILTED = (1, 0, 0, 0, np.cos(ANGLE), np.sin(ANGLE))
CLASSES = (ClassInfo(3, "anterior part", "#ff8000"), ClassInfo(7, "posterior", "#0000ff"))
LABELS = np.where(noise() > 150, 7, np.where(noise() > 100, 3, 0)).astype(np.uint8)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ITK = [".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz"]
TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def volume(array, orientation=TILTED):
    """The array as SimpleITK has it, lying askew."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(ORIGIN)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    image.SetDirection(np.column_stack([row, column, np.cross(row, column)]).ravel().tolist())
    return image


def itk(path, array, *, compressed=False, orientation=TILTED):
    sitk.WriteImage(volume(array, orientation), str(path), compressed)
    return path


def affine_of(image):
    """Positions (z, y, x, 1) to right, front and head, of SimpleITK's image."""
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = (direction * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


def refused(path, *words, read=read_stack, **options):
    """Reading must fail by one line with all the words and the file's name."""
    with pytest.raises(InputError) as caught:
        read(path, **options).data.compute()
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, Path(path).name):
        assert word in message


def same_place(stack, affine, spacing=SPACING):
    np.testing.assert_allclose(stack.affine, affine, **CLOSE)
    np.testing.assert_allclose(stack.spacing, spacing, **CLOSE)
    assert stack.unit == "mm"
