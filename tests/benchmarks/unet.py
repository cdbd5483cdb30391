"""MONAI's U-Net, trained from scratch on the same crops by the same loss, as a yardstick."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from numpy.typing import NDArray

from napari_salt.core.adapt.segmenter import with_background
from napari_salt.core.paint.annotations import Annotations
from napari_salt.core.paint.crops import Augmentation, CropSampler
from napari_salt.core.paint.preprocess import SliceReader, resize
from napari_salt.core.train.losses import segmentation_loss

WIDTHS, RATE, TILE_OVERLAP = (32, 64, 128, 256), 1e-3, 0.25
STEPS_PER_STEP = 3
"""Its steps for each of SALT's: about as many as take the same time on two cores."""


def unet_segmentation(
    reader: SliceReader,
    annotations: Annotations,
    wanted: Sequence[tuple[SliceReader, int]],
    side: int,
    steps: int,
    seed: int,
) -> tuple[list[NDArray[Any]], dict[str, Any]]:
    """Labels of the wanted slices, and what the training was like.

    Parameters
    ----------
    reader, annotations
        The stack and its paint.
    wanted
        Slices to segment, each of some stack.
    side
        Of crops and tiles, in pixels at the reader's scale.
    steps
        What SALT takes in the same time.
    """
    torch.manual_seed(seed)
    channels = reader.preprocess.channels
    net = UNet(2, channels, len(annotations.values), WIDTHS, (2,) * (len(WIDTHS) - 1), num_res_units=2)
    augmentation = Augmentation(turns=reader.preprocess.turns)
    crops = CropSampler([reader], annotations.slices, side, augmentation, seed)
    began, steps = time.monotonic(), STEPS_PER_STEP * steps
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        batch = crops.draw(1)
        loss = segmentation_loss(net(batch.images[:, :channels]), batch.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.monotonic() - began
    net.eval()
    values = np.array([0, *annotations.values])
    with torch.no_grad():
        found = [values[_classes(net, slices, index, side)] for slices, index in wanted]
    return found, {
        "steps": steps,
        "training_seconds": round(seconds, 1),
        "seconds_per_step": round(seconds / steps, 3),
        "trainable_parameters": sum(p.numel() for p in net.parameters()),
        "learning_rate": RATE,
    }


def _classes(net: UNet, reader: SliceReader, index: int, side: int) -> NDArray[np.int64]:
    """Class numbers (Y, X), 0 is background."""
    image = reader.read(index)[None, : reader.preprocess.channels]
    logits = sliding_window_inference(image, side, 1, net, overlap=TILE_OVERLAP)
    height, width = reader.stack.shape[1:3]
    chosen: NDArray[np.int64] = with_background(resize(logits, (height, width))).argmax(1)[0].numpy()
    return chosen
