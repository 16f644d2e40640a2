"""What all tests share: the zoo of real models, where it is, and quiet runtimes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def drawn_anew(request: pytest.FixtureRequest) -> None:
    """A module's `RANDOM` starts anew for each test, so that what a test draws does not depend on those before it."""
    if hasattr(request.module, "RANDOM"):
        request.module.RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of real trained models and labelled data."""
    folder = os.environ.get("NARROWCAST_ZOO")
    if not folder:
        pytest.skip("NARROWCAST_ZOO is not set: it names the folder of real models and data")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"NARROWCAST_ZOO is no folder: {path}")
    return path


@pytest.fixture(scope="session")
def digits() -> Path:
    """The committed example: model, calibration and test data."""
    return Path(__file__).parents[1] / "examples" / "digits"
