"""The scan itself as NIfTI, for viewers that lay the mask over it."""

from __future__ import annotations

from pathlib import Path

from sigap.core.study import Study
from sigap.encoders.nifti import write_on_grid


def write_image(study: Study, path: Path) -> None:
    """Write the volume as `.nii.gz`, voxel on voxel with the mask of `write_nifti`; equal studies give equal bytes.

    CT numbers are stored as they were decoded, int16 or float32 in HU with slope 1, whatever slope the input had; a
    picture's shades as uint8.

    Raises:
        ValueError: the input's header does not fit the volume.
    """
    volume = study.volume
    description = "CT numbers in HU" if volume.is_hounsfield else "shades of a picture, 0 to 255, no CT numbers"
    write_on_grid(volume.voxels, study, path, intent="none", description=description)
