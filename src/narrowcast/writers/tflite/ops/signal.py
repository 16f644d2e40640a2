"""Fourier transforms."""

from __future__ import annotations

import numpy as np

from narrowcast.model import NARROWCAST
from narrowcast.writers.tflite.site import Site, lowers


@lowers("Magnitude", domain=NARROWCAST)
def magnitude(site: Site) -> None:
    """RFFT2D of images of one row each, and COMPLEX_ABS."""
    spectrum = site.temporary(site.output_shape(), np.dtype(np.complex64))
    site.emit("RFFT2D", [site.input(0), site.ints([1, site.shape()[-1]])], [spectrum], "Rfft2dOptions")
    site.emit("COMPLEX_ABS", [spectrum], [site.output()])
