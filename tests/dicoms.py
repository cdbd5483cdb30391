"""DICOM files, written by pydicom as scanners do it: a file for each slice, or one of many frames."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

UPRIGHT = (1, 0, 0, 0, 1, 0)


def header(kind=MRImageStorage, **facts) -> Dataset:
    """What every image has; the same series for all that get the same `SeriesInstanceUID`."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = kind
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.StudyInstanceUID, file.FrameOfReferenceUID, file.SeriesInstanceUID = "1.2.3", "1.2.4", "1.2.5"
    for name in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID"):
        setattr(file, name, "")
    for name in ("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "PatientSex"):
        setattr(file, name, "")
    file.Manufacturer, file.Modality, file.SeriesNumber = "none", "MR", 1
    for name, value in facts.items():
        setattr(file, name, value)
    return file


def pixels(file: Dataset, array) -> Dataset:
    """Add the values, (Y, X) or (frames, Y, X), of 16 bits."""
    file.Rows, file.Columns = array.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, int(array.dtype.kind == "i")
    file.PixelData = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return file


def place(index, spacing, origin, orientation):
    normal = np.cross(orientation[:3], orientation[3:])
    return [round(float(value), 6) for value in origin + normal * index * spacing[0]]


def series(
    folder: Path, volume, *, spacing=(2.5, 0.5, 0.75), origin=(3, 4, 5), orientation=UPRIGHT, first=0, **facts
) -> Path:
    """A file for each slice of (Z, Y, X); names and numbers run against the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, plane in enumerate(volume):
        number = first + len(volume) - index
        file = pixels(header(InstanceNumber=number, **facts), plane)
        file.PixelSpacing, file.SliceThickness = list(spacing[1:]), spacing[0]
        file.ImagePositionPatient = place(index, spacing, np.array(origin), orientation)
        file.ImageOrientationPatient = list(orientation)
        file.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def multiframe(path: Path, volume, *, spacing=(2.5, 0.5, 0.75), origin=(3, 4, 5), orders=None) -> Path:
    """An enhanced file: its frames come in the order `orders` of the slices, with a scale of values each."""
    orders = list(range(len(volume)) if orders is None else orders)
    file = pixels(header(EnhancedMRImageStorage, NumberOfFrames=len(orders)), volume[orders])
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(spacing[1:]), spacing[0]
    plane.ImageOrientationPatient = list(UPRIGHT)
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    file.SharedFunctionalGroupsSequence = Sequence([shared])
    own = []
    for index in orders:
        frame, where, scale = Dataset(), Dataset(), Dataset()
        where.ImagePositionPatient = place(index, spacing, np.array(origin), UPRIGHT)
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 2, index - 100, "US"
        frame.PlanePositionSequence = Sequence([where])
        frame.PixelValueTransformationSequence = Sequence([scale])
        own.append(frame)
    file.PerFrameFunctionalGroupsSequence = Sequence(own)
    file.save_as(path, enforce_file_format=True)
    return path
