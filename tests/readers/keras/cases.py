"""Small Keras models, written once and built by Keras 3 and by Keras 2 alike.

A case builds a model from the namespace `keras` of either Keras. `generations` says which of them have its layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BOTH = (2, 3)


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[Any], Any]
    generations: tuple[int, ...] = BOTH
    vocabulary: int = 0
    """Inputs are integers below this, if it is not 0."""
    formats: tuple[str, ...] = ("keras", "h5")


def one(name: str, shape: tuple[int, ...], make: Callable[[Any], Any], **options: Any) -> Case:
    """A case of a single layer on one input."""

    def build(keras: Any) -> Any:
        x = keras.Input(shape)
        return keras.Model(x, make(keras.layers)(x))

    return Case(name, build, **options)


def several(name: str, shapes: list[tuple[int, ...]], make: Callable[[Any], Any], **options: Any) -> Case:
    """A case of a single layer that merges several inputs."""

    def build(keras: Any) -> Any:
        xs = [keras.Input(shape) for shape in shapes]
        return keras.Model(xs, make(keras.layers)(xs))

    return Case(name, build, **options)


def activation(name: str, generations: tuple[int, ...] = BOTH) -> Case:
    return one(f"activation_{name}", (4, 5), lambda kl: kl.Activation(name), generations=generations)


ONLY2, ONLY3 = (2,), (3,)

CONVOLUTION = [
    one("conv1d_causal", (9, 3), lambda kl: kl.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    one("conv1d_same", (9, 3), lambda kl: kl.Conv1D(4, 4, padding="same", strides=2, activation="relu")),
    one("conv1d_groups", (9, 4), lambda kl: kl.Conv1D(6, 3, groups=2)),
    one("conv2d_valid", (8, 7, 3), lambda kl: kl.Conv2D(5, (3, 2), strides=(2, 1), activation="tanh")),
    one("conv2d_same_odd", (7, 9, 3), lambda kl: kl.Conv2D(5, 3, strides=2, padding="same")),
    one("conv2d_same_even", (8, 8, 3), lambda kl: kl.Conv2D(5, 3, strides=2, padding="same", use_bias=False)),
    one("conv2d_same_4", (8, 6, 3), lambda kl: kl.Conv2D(5, 4, padding="same", dilation_rate=(2, 1))),
    one("conv2d_groups", (6, 6, 4), lambda kl: kl.Conv2D(6, 3, groups=2, padding="same")),
    one("conv2d_1x1", (6, 6, 4), lambda kl: kl.Conv2D(6, 1, strides=2)),
    one("conv2d_first", (3, 6, 7), lambda kl: kl.Conv2D(4, 3, data_format="channels_first"), generations=ONLY3),
    one("conv3d", (5, 6, 4, 2), lambda kl: kl.Conv3D(3, (2, 3, 2), strides=(1, 2, 1), padding="same")),
    one("depthwise1d", (9, 4), lambda kl: kl.DepthwiseConv1D(3, depth_multiplier=2, padding="same")),
    one("depthwise2d", (8, 7, 3), lambda kl: kl.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6")),
    one("depthwise2d_multiplier", (8, 7, 3), lambda kl: kl.DepthwiseConv2D((2, 3), depth_multiplier=3)),
    one("depthwise2d_dilated", (9, 9, 3), lambda kl: kl.DepthwiseConv2D(3, dilation_rate=2, padding="same")),
    one("separable1d", (9, 4), lambda kl: kl.SeparableConv1D(5, 3, depth_multiplier=2, padding="same")),
    one("separable2d", (8, 8, 3), lambda kl: kl.SeparableConv2D(5, 3, strides=2, padding="same", activation="relu")),
    one("separable2d_plain", (8, 8, 3), lambda kl: kl.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False)),
    one("transpose1d", (6, 3), lambda kl: kl.Conv1DTranspose(4, 3, strides=2, padding="same")),
    one("transpose2d_same", (5, 4, 3), lambda kl: kl.Conv2DTranspose(4, 3, strides=2, padding="same")),
    one("transpose2d_valid", (5, 4, 3), lambda kl: kl.Conv2DTranspose(4, (3, 2), strides=(2, 1))),
    one("transpose2d_4", (5, 4, 3), lambda kl: kl.Conv2DTranspose(2, 4, strides=2, padding="same", use_bias=False)),
    one("transpose2d_gap", (5, 4, 3), lambda kl: kl.Conv2DTranspose(2, 2, strides=3, padding="same")),
    one("transpose2d_gap_valid", (5, 4, 3), lambda kl: kl.Conv2DTranspose(2, 2, strides=3), generations=ONLY2),
    one("transpose2d_out", (5, 4, 3), lambda kl: kl.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1)),
    one("transpose3d", (3, 4, 3, 2), lambda kl: kl.Conv3DTranspose(3, 3, strides=2, padding="same")),
]

POOLING = [
    one("max1d", (9, 3), lambda kl: kl.MaxPooling1D(2)),
    one("max2d_same", (7, 6, 3), lambda kl: kl.MaxPooling2D(3, strides=2, padding="same")),
    one("max2d_valid", (7, 6, 3), lambda kl: kl.MaxPooling2D((2, 3))),
    one("max3d", (4, 5, 6, 2), lambda kl: kl.MaxPooling3D(2)),
    one("average1d_same", (9, 3), lambda kl: kl.AveragePooling1D(2, padding="same")),
    one("average2d_same", (7, 9, 3), lambda kl: kl.AveragePooling2D(3, strides=4, padding="same")),
    # Keras 3 on PyTorch counts the padding where it is unequal, unlike on TensorFlow and JAX
    one("average2d_same_uneven", (7, 6, 3), lambda kl: kl.AveragePooling2D(3, 2, padding="same"), generations=ONLY2),
    one(
        "average2d_first", (3, 7, 6), lambda kl: kl.AveragePooling2D(2, data_format="channels_first"), generations=ONLY3
    ),
    one("average3d", (4, 5, 6, 2), lambda kl: kl.AveragePooling3D(2)),
    one("global_average1d", (9, 3), lambda kl: kl.GlobalAveragePooling1D()),
    one("global_average2d", (5, 6, 3), lambda kl: kl.GlobalAveragePooling2D()),
    one("global_average2d_keep", (5, 6, 3), lambda kl: kl.GlobalAveragePooling2D(keepdims=True)),
    one("global_average2d_first", (3, 5, 6), lambda kl: kl.GlobalAveragePooling2D(data_format="channels_first")),
    one("global_average3d", (3, 4, 5, 2), lambda kl: kl.GlobalAveragePooling3D()),
    one("global_max1d", (9, 3), lambda kl: kl.GlobalMaxPooling1D()),
    one("global_max2d", (5, 6, 3), lambda kl: kl.GlobalMaxPooling2D(keepdims=True)),
    one("global_max3d", (3, 4, 5, 2), lambda kl: kl.GlobalMaxPooling3D()),
]

NORMALIZATION = [
    one("batch_norm", (5, 6, 3), lambda kl: kl.BatchNormalization()),
    one("batch_norm_vector", (7,), lambda kl: kl.BatchNormalization(epsilon=0.01)),
    one("batch_norm_plain", (5, 6, 3), lambda kl: kl.BatchNormalization(center=False, scale=False)),
    one("batch_norm_axis1", (3, 6, 4), lambda kl: kl.BatchNormalization(axis=1, scale=False)),
    one("batch_norm_axis2", (3, 6, 4), lambda kl: kl.BatchNormalization(axis=2, center=False)),
    one("layer_norm", (5, 6), lambda kl: kl.LayerNormalization(epsilon=1e-6)),
    one("layer_norm_plain", (5, 6), lambda kl: kl.LayerNormalization(center=False, scale=False)),
    one("layer_norm_axes", (4, 5, 6), lambda kl: kl.LayerNormalization(axis=[2, 3])),
    one("layer_norm_split", (4, 5, 6), lambda kl: kl.LayerNormalization(axis=[1, 3]), generations=ONLY3),
    one("rms_norm", (5, 6), lambda kl: kl.RMSNormalization(), generations=ONLY3),
    one("rms_norm_axes", (4, 5, 6), lambda kl: kl.RMSNormalization(axis=[2, 3]), generations=ONLY3),
    one("unit_norm", (5, 6), lambda kl: kl.UnitNormalization()),
    one("unit_norm_axes", (4, 5, 6), lambda kl: kl.UnitNormalization(axis=[1, 2])),
    one("group_norm", (5, 4, 6), lambda kl: kl.GroupNormalization(groups=3)),
    one("group_norm_instance", (5, 4, 6), lambda kl: kl.GroupNormalization(groups=-1, scale=False)),
    one("group_norm_axis1", (6, 5), lambda kl: kl.GroupNormalization(groups=2, axis=1)),
    one("group_norm_vector", (6,), lambda kl: kl.GroupNormalization(groups=2)),
]

EVERYWHERE = (
    *("linear", "relu", "elu", "selu", "sigmoid", "tanh", "hard_sigmoid", "softplus", "softsign", "exponential"),
    *("gelu", "swish", "mish", "softmax"),
)
LATER = (
    *("relu6", "leaky_relu", "celu", "log_softmax", "silu", "hard_silu", "hard_swish", "hard_tanh", "tanh_shrink"),
    *("hard_shrink", "soft_shrink", "log_sigmoid", "sparse_plus", "sparse_sigmoid", "squareplus"),
)

ACTIVATIONS = [
    *(activation(name) for name in EVERYWHERE),
    *(activation(name, ONLY3) for name in LATER),
    one("relu_max", (4, 5), lambda kl: kl.ReLU(max_value=1.0)),
    one("relu_general", (4, 5), lambda kl: kl.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.3)),
    one("relu_slope", (4, 5), lambda kl: kl.ReLU(negative_slope=0.1)),
    one("leaky_relu_layer", (4, 5), lambda kl: kl.LeakyReLU(0.15)),
    one("elu_layer", (4, 5), lambda kl: kl.ELU(alpha=0.7)),
    one("thresholded_relu", (4, 5), lambda kl: kl.ThresholdedReLU(theta=0.4), generations=ONLY2),
    one("softmax_layer", (4, 5, 3), lambda kl: kl.Softmax(axis=1)),
    one("prelu", (4, 5), lambda kl: kl.PReLU()),
    one("prelu_shared", (4, 5, 3), lambda kl: kl.PReLU(shared_axes=[1, 2])),
    one("activation_layer_argument", (5,), lambda kl: kl.Dense(4, activation=kl.LeakyReLU(0.2))),
]

CORE = [
    one("dense", (6,), lambda kl: kl.Dense(4, activation="sigmoid")),
    one("dense_sequence", (5, 6), lambda kl: kl.Dense(4, use_bias=False)),
    one("dense_image", (3, 4, 6), lambda kl: kl.Dense(4)),
    one("einsum", (5, 6), lambda kl: kl.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")),
    one("einsum_heads", (5, 6), lambda kl: kl.EinsumDense("abc,cde->abde", (None, 4, 3), bias_axes="de")),
    one("einsum_join", (5, 4, 3), lambda kl: kl.EinsumDense("abde,dec->abc", (None, 6))),
    one(
        "einsum_moved", (5, 4, 3), lambda kl: kl.EinsumDense("abde,fbd->aef", (3, 2), bias_axes="f", activation="relu")
    ),
    one("einsum_ellipsis", (5, 4, 3), lambda kl: kl.EinsumDense("...x,xy->...y", 6, bias_axes="y")),
    one("masking", (5, 3), lambda kl: kl.Masking(0.0)),
    one("spectral_norm", (5,), lambda kl: kl.SpectralNormalization(kl.Dense(4)), generations=ONLY3),
    one("spectral_norm_conv", (5, 5, 2), lambda kl: kl.SpectralNormalization(kl.Conv2D(3, 2)), generations=ONLY3),
    one("random_shear", (7, 8, 3), lambda kl: kl.RandomShear(0.2, 0.2), generations=ONLY3),
    one("random_erasing", (7, 8, 3), lambda kl: kl.RandomErasing(), generations=ONLY3),
    one("random_grayscale", (7, 8, 3), lambda kl: kl.RandomGrayscale(), generations=ONLY3),
    one("dropout", (6,), lambda kl: kl.Dropout(0.5)),
    one("spatial_dropout", (5, 6), lambda kl: kl.SpatialDropout1D(0.5)),
    one("gaussian_noise", (6,), lambda kl: kl.GaussianNoise(0.5)),
    one("activity_regularization", (6,), lambda kl: kl.ActivityRegularization(l2=0.1)),
    one("embedding", (7,), lambda kl: kl.Embedding(11, 4), vocabulary=11),
    one("flatten", (3, 4, 2), lambda kl: kl.Flatten()),
    one("flatten_first", (3, 4, 2), lambda kl: kl.Flatten(data_format="channels_first")),
    one("reshape", (3, 4, 2), lambda kl: kl.Reshape((6, -1))),
    one("permute", (3, 4, 2), lambda kl: kl.Permute((3, 1, 2))),
    one("repeat_vector", (6,), lambda kl: kl.RepeatVector(3)),
    one("padding1d", (5, 3), lambda kl: kl.ZeroPadding1D((1, 2))),
    one("padding2d", (5, 4, 3), lambda kl: kl.ZeroPadding2D(((1, 0), (2, 3)))),
    one("padding2d_pair", (5, 4, 3), lambda kl: kl.ZeroPadding2D((1, 2))),
    one("padding3d", (3, 4, 2, 3), lambda kl: kl.ZeroPadding3D(1)),
    one("cropping1d", (6, 3), lambda kl: kl.Cropping1D((1, 2))),
    one("cropping2d", (6, 7, 3), lambda kl: kl.Cropping2D(((1, 0), (2, 3)))),
    one("cropping3d", (4, 5, 6, 2), lambda kl: kl.Cropping3D(1)),
    one("upsampling1d", (4, 3), lambda kl: kl.UpSampling1D(3)),
    one("upsampling2d", (4, 3, 2), lambda kl: kl.UpSampling2D((2, 3))),
    one("upsampling2d_bilinear", (4, 3, 2), lambda kl: kl.UpSampling2D(2, interpolation="bilinear")),
    one("upsampling3d", (2, 3, 2, 2), lambda kl: kl.UpSampling3D(2)),
    one("rescaling", (4, 3), lambda kl: kl.Rescaling(1 / 127.5, offset=-1.0)),
    one("rescaling_channels", (4, 3), lambda kl: kl.Rescaling([0.1, 0.2, 0.3], offset=[1.0, 2.0, 3.0])),
    one("normalization", (4, 3), lambda kl: kl.Normalization(mean=[0.5, 1.0, 2.0], variance=[0.2, 1.5, 3.0])),
    one("normalization_scalar", (4, 3), lambda kl: kl.Normalization(mean=0.5, variance=2.0, axis=None)),
    one("normalization_invert", (4, 3), lambda kl: kl.Normalization(mean=0.5, variance=2.0, axis=None, invert=True)),
    one("resizing", (6, 8, 3), lambda kl: kl.Resizing(9, 4)),
    one("resizing_nearest", (4, 3, 2), lambda kl: kl.Resizing(8, 9, interpolation="nearest")),
    one("center_crop", (7, 8, 3), lambda kl: kl.CenterCrop(4, 5)),
    one("random_flip", (7, 8, 3), lambda kl: kl.RandomFlip()),
]

MERGING = [
    several("add", [(4, 5)] * 3, lambda kl: kl.Add()),
    several("add_broadcast", [(4, 5), (1, 5)], lambda kl: kl.Add()),
    several("subtract", [(4, 5)] * 2, lambda kl: kl.Subtract()),
    several("multiply", [(4, 5), (4, 1)], lambda kl: kl.Multiply()),
    several("average", [(4, 5)] * 3, lambda kl: kl.Average()),
    several("maximum", [(4, 5)] * 3, lambda kl: kl.Maximum()),
    several("minimum", [(4, 5)] * 2, lambda kl: kl.Minimum()),
    several("concatenate", [(4, 5), (4, 3)], lambda kl: kl.Concatenate()),
    several("concatenate_axis1", [(4, 5), (2, 5)], lambda kl: kl.Concatenate(axis=1)),
    several("dot_vectors", [(5,), (5,)], lambda kl: kl.Dot(axes=1)),
    several("dot_matrices", [(3, 5), (4, 3)], lambda kl: kl.Dot(axes=(1, 2))),
    several("dot_cosine", [(5,), (5,)], lambda kl: kl.Dot(axes=-1, normalize=True)),
    several("dot_images", [(2, 3, 5), (5, 4)], lambda kl: kl.Dot(axes=(3, 1)), generations=ONLY3),
]

RECURRENT = [
    one("lstm", (5, 3), lambda kl: kl.LSTM(4)),
    one("lstm_sequences", (5, 3), lambda kl: kl.LSTM(4, return_sequences=True, use_bias=False)),
    one("lstm_states", (5, 3), lambda kl: kl.LSTM(4, return_sequences=True, return_state=True)),
    one("lstm_backwards", (5, 3), lambda kl: kl.LSTM(4, go_backwards=True, return_sequences=True)),
    one(
        "lstm_activations",
        (5, 3),
        lambda kl: kl.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid", return_sequences=True),
    ),
    one("lstm_linear", (5, 3), lambda kl: kl.LSTM(4, activation="linear", recurrent_activation="softsign")),
    one("gru", (5, 3), lambda kl: kl.GRU(4)),
    one("gru_before", (5, 3), lambda kl: kl.GRU(4, reset_after=False, return_sequences=True)),
    one("gru_states", (5, 3), lambda kl: kl.GRU(4, return_state=True, go_backwards=True)),
    one("gru_elu", (5, 3), lambda kl: kl.GRU(4, activation="elu", recurrent_activation="tanh")),
    one("rnn", (5, 3), lambda kl: kl.SimpleRNN(4, return_sequences=True)),
    one("rnn_relu", (5, 3), lambda kl: kl.SimpleRNN(4, activation="relu", go_backwards=True)),
    one("rnn_cell", (5, 3), lambda kl: kl.RNN(kl.LSTMCell(4), return_sequences=True)),
    *(
        one(
            f"bidirectional_{mode}",
            (5, 3),
            lambda kl, mode=mode: kl.Bidirectional(kl.LSTM(4, return_sequences=True), merge_mode=mode),
        )
        for mode in ("concat", "sum", "mul", "ave")
    ),
    one("bidirectional_last", (5, 3), lambda kl: kl.Bidirectional(kl.GRU(4))),
    one("bidirectional_none", (5, 3), lambda kl: kl.Bidirectional(kl.GRU(4), merge_mode=None)),
    one("bidirectional_states", (5, 3), lambda kl: kl.Bidirectional(kl.LSTM(4, return_state=True))),
    one("bidirectional_rnn", (5, 3), lambda kl: kl.Bidirectional(kl.SimpleRNN(4, return_sequences=True))),
    one(
        "bidirectional_two",
        (5, 3),
        lambda kl: kl.Bidirectional(kl.LSTM(4), backward_layer=kl.LSTM(3, go_backwards=True)),
    ),
    one("time_distributed_dense", (5, 3), lambda kl: kl.TimeDistributed(kl.Dense(4, activation="relu"))),
    one("time_distributed_conv", (4, 6, 5, 3), lambda kl: kl.TimeDistributed(kl.Conv2D(2, 3))),
    one("time_distributed_norm", (4, 5), lambda kl: kl.TimeDistributed(kl.BatchNormalization())),
]


def states_given(keras: Any) -> Any:
    x, h, c = keras.Input((5, 3)), keras.Input((4,)), keras.Input((4,))
    return keras.Model([x, h, c], keras.layers.LSTM(4, return_sequences=True)(x, initial_state=[h, c]))


def encoder_decoder(keras: Any) -> Any:
    kl = keras.layers
    x, y = keras.Input((5, 3)), keras.Input((4, 2))
    _, h, c = kl.LSTM(6, return_state=True)(x)
    decoded = kl.LSTM(6, return_sequences=True)(y, initial_state=[h, c])
    return keras.Model([x, y], kl.Dense(3, activation="softmax")(decoded))


def bidirectional_given(keras: Any) -> Any:
    x, a, b = keras.Input((5, 3)), keras.Input((4,)), keras.Input((4,))
    return keras.Model([x, a, b], keras.layers.Bidirectional(keras.layers.GRU(4))(x, initial_state=[a, b]))


def attention(keras: Any) -> Any:
    q, v = keras.Input((4, 6)), keras.Input((5, 6))
    return keras.Model([q, v], keras.layers.MultiHeadAttention(2, 3, value_dim=4)(q, v))


def attention_all(keras: Any) -> Any:
    q, v, k, mask = keras.Input((4, 6)), keras.Input((5, 7)), keras.Input((5, 8)), keras.Input((4, 5), dtype="bool")
    layer = keras.layers.MultiHeadAttention(2, 3, use_bias=False, output_shape=9)
    made = layer(q, v, key=k, attention_mask=mask, return_attention_scores=True)
    return keras.Model([q, v, k, mask], made)


def attention_causal(keras: Any) -> Any:
    x = keras.Input((4, 6))
    return keras.Model(x, keras.layers.MultiHeadAttention(3, 2, dropout=0.2)(x, x, use_causal_mask=True))


def attention_image(keras: Any) -> Any:
    x = keras.Input((3, 4, 6))
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 3)(x, x))


def attention_gate(keras: Any) -> Any:
    x = keras.Input((4, 6))
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 3, use_gate=True)(x, x))


def grouped_attention(keras: Any) -> Any:
    q, v = keras.Input((4, 6)), keras.Input((5, 6))
    return keras.Model([q, v], keras.layers.GroupQueryAttention(3, 4, 2)(q, v))


ATTENTION = [
    Case("attention_heads", attention),
    Case("attention_heads_all", attention_all),
    Case("attention_heads_causal", attention_causal, generations=ONLY3),
    Case("attention_heads_image", attention_image),
    Case("attention_heads_gate", attention_gate, generations=ONLY3),
    Case("attention_grouped", grouped_attention, generations=ONLY3),
    several("attention_dot", [(4, 6), (5, 6)], lambda kl: kl.Attention(use_scale=True)),
    several("attention_dot_key", [(4, 6), (5, 7), (5, 6)], lambda kl: kl.Attention()),
    several("attention_concat", [(4, 6), (5, 6)], lambda kl: kl.Attention(score_mode="concat", use_scale=True)),
    several("attention_additive", [(4, 6), (5, 6)], lambda kl: kl.AdditiveAttention()),
]

LAYERS = [*CONVOLUTION, *POOLING, *NORMALIZATION, *ACTIVATIONS, *CORE, *MERGING, *RECURRENT, *ATTENTION]
