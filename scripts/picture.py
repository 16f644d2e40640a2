"""Draws docs/images/network.png: the example in int8, as `inspect --graph` shows it, in a headless chromium."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import narrowcast
from narrowcast.report import files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.report.browser import browser  # noqa: E402

DIGITS = ROOT / "examples" / "digits"
VIEW = """
const box = network.data.graphs[0].boxes.findIndex((box) => box.type === 'CONV_2D');
network.choose(box);
network.centre(box);
network.paint();
"""


def main() -> None:
    """Writes the picture."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = narrowcast.quantize(narrowcast.load(DIGITS / "model.keras"), "int8", data=DIGITS / "calibration.npz")
        file = narrowcast.save(model, folder / "digits_int8.tflite", verify=False)
        network = narrowcast.inspect(file.path, operators=True, histograms=True).network
        assert network is not None
        files.draw(network, folder / "page.html")
        with browser(folder) as chrome:
            chrome.resize(1280, 820)
            chrome.media(scheme="light")
            chrome.open(folder / "page.html")
            chrome.evaluate(VIEW)
            chrome.screenshot(ROOT / "docs" / "images" / "network.png")


if __name__ == "__main__":
    main()
