"""Options that several commands share, each defined once; and the parsers of their values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from math import isfinite
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from narrowcast.cli.command import option
from narrowcast.evaluation.trials import OBSERVERS, REPAIRS, Settings

__all__ = [
    "DURATION",
    "PATH",
    "SCHEMES",
    "Finite",
    "bar_options",
    "data_options",
    "edit_options",
    "freeze_option",
    "from_option",
    "inline_option",
    "keep_option",
    "labels_option",
    "layout_option",
    "making_options",
    "member_option",
    "metric_option",
    "model_options",
    "output_option",
    "override_options",
    "quantizer_options",
    "recipe_option",
    "reference_option",
    "shapes_option",
    "signature_option",
    "source_argument",
    "threads_option",
    "to_options",
    "verify_option",
]

SCHEMES = ("float32", "float16", "dynamic_range", "weight_only", "int8", "full_int8", "int16x8", "int8_pow2")

DEFAULTS = Settings()

LARGEST = 2**31
"""Dimensions stay below it, in every format that is written."""

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Decorator = Callable[[F], F]


class Parsed(click.ParamType, Generic[T]):  # type: ignore[type-arg]
    """A value read by `parse`, which raises ValueError with the reason where it cannot."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self.parse = parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The name as it is; click would put it in capitals."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T | Any:
        """Returns the parsed value; values that are no text are taken to be parsed already."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def parse_threads(text: str) -> tuple[int, ...]:
    """1,2 -> (1, 2), ascending, without repetitions."""
    counts = sorted({_integer(part, "a number of threads") for part in text.split(",")})
    if counts[0] < 1:
        raise ValueError("a number of threads is at least 1")
    return tuple(counts)


def parse_floats(text: str) -> tuple[float, ...]:
    """123.7,116.3,103.5 -> three floats; one value stands for all channels."""
    try:
        return tuple(_finite(part) for part in text.split(","))
    except ValueError:
        raise ValueError("expected numbers with commas between them") from None


def parse_batch(text: str) -> int | str:
    """A positive integer, or "dynamic"."""
    if text == "dynamic":
        return text
    size = _integer(text, "a batch size, or 'dynamic'")
    if size < 1:
        raise ValueError("a batch holds at least one sample")
    if size >= LARGEST:
        raise ValueError(f"no batch can be beyond {LARGEST - 1}")
    return size


def parse_named_shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    """image:1,3,224,224 or image:1x3x224x? -> ("image", (1, 3, 224, None)); the name may hold colons."""
    name, colon, shape = text.rpartition(":")
    if not colon or not name:
        raise ValueError("expected name:shape, as in image:1,3,224,224")
    parts = shape.replace("x", ",").split(",")
    dims = tuple(None if part.strip() == "?" else _integer(part, "a dimension") for part in parts)
    known = [dim for dim in dims if dim is not None]
    if min(known, default=1) < 1:
        raise ValueError("every dimension is at least 1")
    if max(known, default=1) >= LARGEST:
        raise ValueError(f"no dimension can be beyond {LARGEST - 1}")
    return name, dims


def parse_sizes(text: str) -> tuple[tuple[int, ...], ...]:
    """128,256,320x480 -> ((128,), (256,), (320, 480))."""
    sizes = tuple(tuple(_integer(size, "a size") for size in part.split("x")) for part in text.split(","))
    if min(map(min, sizes)) < 1 or max(map(max, sizes)) >= LARGEST:
        raise ValueError(f"a size is at least 1 and at most {LARGEST - 1}")
    return sizes


def parse_named_number(text: str) -> tuple[str, float]:
    """sr=16000 -> ("sr", 16000.0)."""
    name, equals, number = text.rpartition("=")
    if not equals or not name:
        raise ValueError("expected name=number, as in sr=16000")
    try:
        return name, _finite(number)
    except ValueError:
        raise ValueError("expected name=number, as in sr=16000") from None


def parse_named_scheme(text: str) -> tuple[str, str]:
    """head/*=float32 -> ("head/*", "float32"); the pattern may hold equals signs."""
    names, equals, scheme = text.rpartition("=")
    if not equals or not names or not scheme:
        raise ValueError("expected names=scheme, as in 'head/*=float32'")
    return names, scheme


def parse_named_operator(text: str) -> tuple[str, str]:
    """swish=hard_swish -> ("swish", "hard_swish"); what can be substituted is checked by those who know it."""
    operator, equals, other = text.partition("=")
    if not equals or not operator or not other:
        raise ValueError("expected operator=other, as in swish=hard_swish")
    return operator, other


def parse_duration(text: str) -> float:
    """Seconds: "90", "90s", "5m", "1.5h"."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        found = float(number) * units[unit]
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"expected a time such as 90s, 5m or 1h, not {text!r}")
    return found


def parse_names(text: str) -> tuple[str, ...]:
    """Names with commas between them, in the order given; what they mean is checked by those who know them."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise ValueError("expected names")
    return names


def _mapping(_ctx: click.Context, _parameter: click.Parameter, pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """A repeatable option's pairs as one mapping."""
    return dict(pairs)


def _overriding(scheme: str | None) -> Callable[[click.Context, click.Parameter, tuple[Any, ...]], None]:
    """Adds names with a scheme, or pairs of both, to the command's `overrides`."""

    def add(context: click.Context, _parameter: click.Parameter, given: tuple[Any, ...]) -> None:
        named = dict(given) if scheme is None else dict.fromkeys(given, scheme)
        context.params.setdefault("overrides", {}).update(named)

    return add


def _finite(text: str) -> float:
    """A number; NaN, which is neither below nor above any bound, and infinities are none."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"expected a number, not {text!r}")
    return number


def _integer(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected {what}, not {text!r}") from None


class _Path(click.Path):
    """A path, which has at least one letter: an empty one, of an unset variable say, would be the folder at hand."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


class Finite(click.FloatRange):
    """A number within bounds, which NaN and infinities are not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number."""
        number = super().convert(value, param, ctx)
        return number if isfinite(number) else self.fail(f"{value!r} is no number that can be reached", param, ctx)


PATH = _Path(path_type=Path)
THREADS = Parsed("N,N", parse_threads)
FLOATS = Parsed("V[,V,V]", parse_floats)
BATCH = Parsed("N|dynamic", parse_batch)
NAMED_SHAPE = Parsed("name:shape", parse_named_shape)
NAMED_NUMBER = Parsed("name=number", parse_named_number)
NAMED_SCHEME = Parsed("names=scheme", parse_named_scheme)
SIZES = Parsed("SIZE,...", parse_sizes)
SCHEME_LIST = Parsed("S,S", parse_names)
NAMED_OPERATOR = Parsed("operator=other", parse_named_operator)
NAMES = Parsed("NAME,NAME", parse_names)
FORMAT_LIST = Parsed("FORMAT,FORMAT", parse_names)
DURATION = Parsed("TIME", parse_duration)


def _together(*options: Decorator[Any]) -> Decorator[Any]:
    """One decorator that applies several, shown in the help in the order given."""
    return lambda function: reduce(lambda inner, outer: outer(inner), reversed(options), function)


source_argument = click.argument("source", metavar="SRC", type=PATH)

_file = partial(option, group="Output")
_measure = partial(option, group="Measurements")
_model = partial(option, group="Model")
_edit = partial(option, group="Edits")
_quantizer = partial(option, group="Quantisation")
_data = partial(option, group="Data")

output_option = _file(
    "--output", "-o", metavar="DST", type=PATH, required=True, help="File to write; its suffix names the format."
)

opset_option = _file(
    "--opset", metavar="N", type=click.IntRange(min=1), help="Operator set to write, in formats that have one."
)

inline_option = _file(
    "--inline-limit",
    metavar="BYTES",
    type=click.IntRange(min=0),
    help="In JSON: put weights of more bytes into a file beside it, DST.data.",
)

to_options = _together(
    _file("--to", "fmt", metavar="FORMAT", help="Format to write.  [default: by the suffix of DST]"),
    opset_option,
    inline_option,
)

formats_option = _file(
    "--to", type=FORMAT_LIST, default="tflite", show_default=True, help="Formats to write, each in every scheme."
)

layout_option = _file(
    "--io-layout",
    type=click.Choice(["target", "source"]),
    default=DEFAULTS.io_layout,
    show_default=True,
    help="Layout of image inputs and outputs: the target's own (NHWC), or the source's.",
)

verify_option = _file(
    "--verify/--no-verify", default=True, help="Run the written file beside its source.  [default: verify]"
)


bar_options = _together(
    _file(
        "--min-sqnr",
        metavar="DB",
        type=Finite(),
        help="Signal-to-noise ratio, in dB, that quantisation must leave of the source; what loses more exits with 3.",
    ),
    _file(
        "--max-drop",
        metavar="F",
        type=Finite(0.0, 1.0),
        help="Fraction of samples whose first class may change, as 0.01; more exits with 3.",
    ),
)
"""What the verification asks of a quantised graph, beside what a scheme asks by itself."""


def reference_option(default: str) -> Decorator[Any]:
    """What the written file is compared with."""
    return _file(
        "--reference",
        type=click.Choice(["auto", "original", "canonical"]),
        default=default,
        show_default=True,
        help="What it is compared with: the original file on its own runtime, or the graph that was read from it; "
        "auto takes the original, but not for Keras files, as loading Keras takes longer than a conversion.",
    )


labels_option = _data("--labels", metavar="TXT", type=PATH, help="Class names, one a line, in output order.")

metric_option = _measure(
    "--metric",
    metavar="NAME|FILE.py:function",
    is_eager=True,
    help="What files are judged by: top1, agree (with the source), f1, miou, psnr, sqnr, or a function of your own "
    "(docs/guide/metrics.md).  [default: top1, or agree where the data have no labels]",
)

threads_option = _measure(
    "--threads",
    type=THREADS,
    default="1,2",
    show_default=True,
    help="Numbers of threads to measure latency on.",
)

member_option = _model(
    "--member",
    metavar="NAME",
    help="Model in a bundle, as a .task is: SRC/NAME says the same.",
)

from_option = _together(
    _model(
        "--from",
        "source_format",
        metavar="FORMAT",
        help="Format of the file.  [default: by content, then by suffix]",
    ),
    member_option,
)

signature_option = _model(
    "--signature",
    metavar="KEY",
    default="",
    help="Graph of a TFLite file that has several.  [default: serving_default, or the first]",
)

model_options = _together(
    signature_option,
    _model(
        "--batch",
        type=BATCH,
        default="1",
        show_default=True,
        help="Size of a symbolic first dimension; 'dynamic' leaves it open.",
    ),
    _model(
        "--input",
        "input_shapes",
        type=NAMED_SHAPE,
        multiple=True,
        callback=_mapping,
        help="Shape of an input with symbolic dimensions, as image:1,3,224,224; ? leaves one open; repeatable.",
    ),
)

shapes_option = _model(
    "--shapes",
    type=SIZES,
    default=(),
    help="Sizes of all other symbolic dimensions: 256, or 320x480 for one each; several make a TFLite file with a "
    "signature for each, which share their weights.",
)

freeze_option = _model(
    "--freeze",
    type=NAMED_NUMBER,
    multiple=True,
    callback=_mapping,
    help="Make an input constant, as sr=16000; repeatable. What depends on it alone is computed now.",
)

keep_option = _model(
    "--keep-custom",
    is_flag=True,
    help="Keep a .tflite file's custom operators of MediaPipe and for detection in a TFLite file.",
)

edit_options = _together(
    _edit(
        "--edits",
        metavar="JSON",
        type=PATH,
        help="Edits of the network as it is read: attributes, constants, operators, ports (docs/guide/edits.md).",
    ),
    _edit("--cut-inputs", type=NAMES, default=(), help="Tensors that become inputs; what is then not needed goes."),
    _edit("--cut-outputs", type=NAMES, default=(), help="Tensors that become the outputs, likewise."),
    _edit(
        "--substitute",
        type=NAMED_OPERATOR,
        multiple=True,
        callback=_mapping,
        help="Replace operators that the device lacks: prelu=minmax, leaky_relu=minmax, swish=hard_swish, "
        "hard_swish=swish, resize=nearest|linear|half_pixel|align_corners|asymmetric; repeatable.",
    ),
)
"""Changes of the network, on every command that reads a model."""

override_options = _together(
    _quantizer(
        "--override",
        type=NAMED_SCHEME,
        multiple=True,
        expose_value=False,
        callback=_overriding(None),
        help="Another scheme for nodes of these names, as 'head/*=float32'; repeatable, and the last one that fits "
        "holds.",
    ),
    _quantizer(
        "--keep-float",
        metavar="NAME",
        multiple=True,
        expose_value=False,
        callback=_overriding("float32"),
        help="Leave nodes of this name, or that fit this pattern, in float; repeatable.",
    ),
    _quantizer(
        "--wide",
        metavar="NAME",
        multiple=True,
        expose_value=False,
        callback=_overriding("int16x8"),
        help="Compute nodes of this name, or that fit this pattern, in integers of 16 bits; repeatable.",
    ),
)
"""Other schemes for some nodes; together they are the `overrides` of a verb."""

recipe_option = _quantizer(
    "--recipe",
    metavar="YAML",
    type=PATH,
    help="What tune, or you, have written of how to make a file; other options go before it.",
)

quantizer_options = _together(
    _quantizer(
        "--samples",
        metavar="N",
        type=click.IntRange(min=1),
        default=DEFAULTS.samples,
        show_default=True,
        help="Samples to calibrate on.",
    ),
    _quantizer(
        "--weights",
        type=click.Choice(["per-channel", "per-tensor"]),
        default=DEFAULTS.weights,
        show_default=True,
        help="Granularity of integer weights.",
    ),
    _quantizer(
        "--weight-bits",
        type=click.Choice([4, 8]),
        help="Bits of integer weights; where the target has kernels for 8 alone, they have 8.  [default: 8]",
    ),
    _quantizer(
        "--block-size",
        metavar="N",
        type=click.IntRange(min=1),
        help="Give each run of N weights of 4 bits along the inputs a scale.  [default: one for each output channel]",
    ),
    _quantizer(
        "--observer",
        type=click.Choice(OBSERVERS),
        default=DEFAULTS.observer,
        show_default=True,
        help="How the range of an activation is chosen from what it takes on the samples.",
    ),
    _quantizer(
        "--repair",
        "repairs",
        type=click.Choice(REPAIRS),
        multiple=True,
        help="Win back what quantisation loses (docs/guide/repairs.md); repeatable, made in the order given.",
    ),
    _quantizer(
        "--global-scale",
        metavar="F",
        type=Finite(min=0, min_open=True),
        help="One range, [-F, F], for all activations of int8_pow2, in the place of data.",
    ),
    _quantizer(
        "--io-type",
        type=click.Choice(["int8", "uint8", "float32"]),
        help="Type of inputs and outputs.  [default: the scheme's own]",
    ),
)

preprocessing_options = _together(
    _data(
        "--preprocess",
        type=click.Choice(["tf", "torch", "caffe", "none"]),
        help="Preprocessing as Keras names it: tf x/127.5-1, torch ImageNet mean and std, caffe BGR minus mean.",
    ),
    _data("--mean", type=FLOATS, help="Subtracted from each channel, in units of 0..255."),
    _data("--std", type=FLOATS, help="Divides each channel after the mean, in units of 0..255."),
    _data("--scale", metavar="F", type=Finite(), help="Multiplies each value, as 0.00392156862745098 for 0..1."),
    _data("--channel-order", type=click.Choice(["rgb", "bgr", "gray"]), help="Order of the channels."),
    _data("--normalize", metavar="EXPR", help='An expression in x, as "(x - 127.5) / 127.5".'),
    _data(
        "--resize",
        metavar="N",
        type=click.IntRange(min=1),
        help="Side in pixels to resize to.  [default: the model's input]",
    ),
    _data(
        "--crop",
        metavar="F",
        type=Finite(0.0, 1.0, min_open=True),
        help="Central fraction of the short side to cut out before the resize, as 0.875.",
    ),
)

data_options = _together(
    preprocessing_options,
    _data(
        "--label-offset",
        metavar="N",
        type=int,
        default=0,
        show_default=True,
        help="Added to each label: 1 where the model's class 0 is a background that the labels lack.",
    ),
    _data(
        "--sample-rate",
        metavar="HZ",
        type=click.IntRange(min=1),
        help="Samples a second that recordings (.wav) have to have.  [default: any, as long as it is one]",
    ),
    _data("--seed", metavar="N", type=int, default=0, show_default=True, help="Chooses the samples."),
)
"""Everything that says how files become inputs and labels; on every command that takes data."""

making_options = _together(
    quantizer_options,
    override_options,
    layout_option,
    from_option,
    data_options,
    model_options,
    freeze_option,
    keep_option,
    edit_options,
    labels_option,
    verify_option,
    reference_option("auto"),
)
"""How one file is read, quantised and proven, for commands that look for it or train it."""
