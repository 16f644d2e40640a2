"""Networks of keras.applications, small and with random weights."""

from __future__ import annotations

from typing import Any

from .cases import BOTH, ONLY2, ONLY3, Case


def application(
    name: str, size: int, generations: tuple[int, ...] = ONLY3, formats: tuple[str, ...] = ("keras",), **options: Any
) -> Case:
    """A network without its classifier, and with its preprocessing where it has one inside."""

    def build(keras: Any) -> Any:
        make = getattr(keras.applications, name)
        return make(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3), **options)

    return Case(f"application_{name}", build, generations=generations, formats=formats)


APPLICATIONS = [
    application("MobileNet", 64, alpha=0.25),
    application("MobileNetV2", 64, formats=("keras", "h5"), alpha=0.35),
    application("MobileNetV3Small", 64, generations=BOTH, formats=("keras", "h5")),
    application("EfficientNetB0", 32, generations=BOTH, formats=("h5",)),
    application("EfficientNetV2B0", 32),
    application("ResNet50V2", 32),
    application("DenseNet121", 32),
    application("InceptionV3", 75),
    application("Xception", 71),
    application("NASNetMobile", 32, generations=ONLY2, formats=("h5",)),  # not available on PyTorch
    application("ConvNeXtTiny", 32, formats=("h5",)),
    application("VGG16", 32),
]
