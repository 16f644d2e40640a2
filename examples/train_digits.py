"""Trains the small network of `examples/digits`: two convolutions, dropout, one dense layer, on scikit-learn's digits.

Makes `digits/model.keras`, `digits/calibration.npz`, `digits/test.npz` and `digits/labels.txt`. Nothing is downloaded.

    pip install --group examples
    python examples/train_digits.py
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

FOLDER = Path(__file__).parent / "digits"
CALIBRATION = 128
SEED = 0


def main() -> None:
    """Trains, saves, and says how good the network is."""
    keras.utils.set_random_seed(SEED)
    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)
    images = images.repeat(3, axis=1).repeat(3, axis=2)[..., None]  # 24 x 24 pixels
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=500, stratify=digits.target, random_state=SEED
    )
    model = keras.Sequential(
        [
            keras.Input((24, 24, 1), name="image"),
            keras.layers.Rescaling(1 / 255, name="rescaling"),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_1"),
            keras.layers.MaxPooling2D(name="pool_1"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_2"),
            keras.layers.MaxPooling2D(name="pool_2"),
            keras.layers.Dropout(0.25, name="dropout"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train_x.astype(np.float32), train_y, batch_size=32, epochs=12, verbose=2)
    _, accuracy = model.evaluate(test_x.astype(np.float32), test_y, verbose=0)
    FOLDER.mkdir(exist_ok=True)
    model.save(FOLDER / "model.keras")
    np.savez_compressed(FOLDER / "calibration.npz", x=train_x[:CALIBRATION])
    np.savez_compressed(FOLDER / "test.npz", x=test_x, y=test_y.astype(np.int64))
    (FOLDER / "labels.txt").write_text("\n".join(map(str, range(10))) + "\n")
    print(f"top-1 on {len(test_x)} test digits: {accuracy:.3f}")


if __name__ == "__main__":
    main()
