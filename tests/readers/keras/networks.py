"""Whole models: nesting, sharing, several inputs and outputs, functions between layers."""

from __future__ import annotations

from typing import Any

from .cases import ONLY2, ONLY3, Case, bidirectional_given, encoder_decoder, states_given


def block(keras: Any, name: str, width: int) -> Any:
    """A small model with trained and untrained weights, to be nested."""
    kl = keras.layers
    x = keras.Input((width,))
    y = kl.Dense(width, name="dense_a")(x)
    y = kl.BatchNormalization(name="norm")(y)
    return keras.Model(x, kl.Add(name="sum")([x, kl.Dense(width, name="dense_b")(y)]), name=name)


def nested(keras: Any) -> Any:
    kl = keras.layers
    x = keras.Input((5,))
    inner = block(keras, "inner", 5)
    middle_in = keras.Input((5,))
    middle = keras.Model(middle_in, inner(kl.Dense(5)(inner(middle_in))), name="middle")
    return keras.Model(x, kl.Dense(3)(middle(x)))


def nested_sequential(keras: Any) -> Any:
    kl = keras.layers
    head = keras.Sequential([kl.Dense(4), kl.BatchNormalization(), keras.Sequential([kl.Dense(3)])], name="head")
    body = keras.Sequential([keras.Input((6, 6, 2)), kl.Conv2D(3, 3), kl.BatchNormalization(), kl.ReLU(), kl.Flatten()])
    return keras.Sequential([keras.Input((6, 6, 2)), body, head])


def sequential_unbuilt_input(keras: Any) -> Any:
    kl = keras.layers
    model = keras.Sequential([kl.Dense(4, activation="relu"), kl.Dense(2)])
    model.build((None, 5))
    return model


def shared(keras: Any) -> Any:
    kl = keras.layers
    a, b = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    layer, model = kl.Dense(5, name="shared"), block(keras, "twin", 5)
    one, two = model(layer(a)), model(layer(layer(b)))
    return keras.Model([a, b], [kl.Add(name="sum")([one, two]), kl.Dense(2, name="head")(model(one))])


def shared_across(keras: Any) -> Any:
    """A layer that is used both inside a nested model and beside it."""
    kl = keras.layers
    layer = kl.Dense(5, name="common")
    x = keras.Input((5,))
    inner = keras.Model(x, kl.BatchNormalization()(layer(x)), name="inner")
    y = keras.Input((5,))
    return keras.Model(y, inner(layer(y)))


def frozen(keras: Any) -> Any:
    """Frozen layers change the order of the weights in whole-model files."""
    kl = keras.layers
    x = keras.Input((5,))
    part = block(keras, "part", 5)
    part.get_layer("dense_a").trainable = False
    part.get_layer("norm").trainable = False
    whole = block(keras, "whole", 5)
    whole.trainable = False
    return keras.Model(x, kl.Dense(2)(whole(part(x))))


def frozen_at_birth(keras: Any) -> Any:
    kl = keras.layers
    x = keras.Input((5,))
    y = kl.Dense(4, trainable=False, name="fixed")(x)
    y = kl.BatchNormalization(trainable=False)(y)
    inner = keras.Model(x, kl.Dense(4, name="free")(y), name="inner")
    z = keras.Input((5,))
    return keras.Model(z, inner(z))


def many_ends(keras: Any) -> Any:
    kl = keras.layers
    image, vector = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="vector")
    x = kl.Conv2D(4, 3, activation="relu", name="stem")(image)
    pooled = kl.GlobalAveragePooling2D(name="pooled")(x)
    joined = kl.Concatenate()([pooled, vector])
    return keras.Model(
        {"image": image, "vector": vector}, {"b": kl.Dense(3, name="logits")(joined), "a": x, "c": pooled}
    )


def input_is_output(keras: Any) -> Any:
    x = keras.Input((4,), name="x")
    y = keras.layers.Dense(3, name="y")(x)
    return keras.Model(x, [y, y, x])


def distributed_model(keras: Any) -> Any:
    kl = keras.layers
    inner = keras.Sequential(
        [keras.Input((6, 5, 2)), kl.Conv2D(3, 3), kl.BatchNormalization(), kl.GlobalMaxPooling2D()]
    )
    x = keras.Input((4, 6, 5, 2))
    return keras.Model(x, kl.LSTM(3)(kl.TimeDistributed(inner)(x)))


def transformer(keras: Any) -> Any:
    kl = keras.layers
    x = keras.Input((6,), dtype="int32")
    y = kl.Embedding(11, 8)(x)
    y = kl.Add()([y, kl.MultiHeadAttention(2, 4)(y, y)])
    y = kl.LayerNormalization()(y)
    y = kl.Add()([y, kl.Dense(8)(kl.Dense(16, activation="gelu")(y))])
    return keras.Model(x, kl.Dense(3, activation="softmax")(kl.GlobalAveragePooling1D()(kl.LayerNormalization()(y))))


def excitation(keras: Any) -> Any:
    """A squeeze-and-excitation block with its swish spelled out, residual and concatenation."""
    kl = keras.layers
    x = keras.Input((8, 8, 3))
    y = kl.BatchNormalization()(kl.Conv2D(8, 3, padding="same", use_bias=False)(x))
    y = kl.Multiply()([y, kl.Activation("sigmoid")(y)])
    s = kl.Reshape((1, 1, 8))(kl.GlobalAveragePooling2D()(y))
    s = kl.Conv2D(8, 1, activation="hard_sigmoid")(kl.Conv2D(2, 1, activation="swish")(s))
    y = kl.Multiply()([y, s])
    y = kl.Concatenate()([y, kl.AveragePooling2D(1)(x), kl.Permute((2, 1, 3))(x)])
    y = kl.Cropping2D(1)(kl.ZeroPadding2D(2)(y))
    return keras.Model(x, kl.Softmax(axis=-1)(kl.UpSampling2D(2)(y)))


def functions3(keras: Any) -> Any:
    ops = keras.ops
    x, y = keras.Input((4, 6)), keras.Input((4, 6))
    a = ops.maximum(x * 2.0 - y, 1.0 - x) / (ops.abs(y) + 1.0)
    b = ops.mean(a, axis=1, keepdims=True) + ops.sum(a, axis=-1, keepdims=True)
    c = ops.concatenate([a, ops.relu(b)], axis=-1)
    d = ops.transpose(ops.reshape(c, (-1, 2, 2, 12)), (0, 3, 1, 2))
    e = ops.squeeze(ops.expand_dims(d[:, 1:9:2, ..., 0], 1), 1)
    f = ops.matmul(e, ops.transpose(e, (0, 2, 1)))
    g, h = ops.split(f, 2, axis=1)
    i = ops.stack([ops.clip(g, -1.0, 1.0), ops.leaky_relu(h), ops.gelu(g)], axis=1)
    return keras.Model([x, y], [i, ops.softmax(f[:, -1]), ops.max(f, axis=(1, 2)), -ops.sqrt(ops.square(g))])


def functions2(keras: Any) -> Any:
    import tensorflow as tf

    x, y = keras.Input((4, 6)), keras.Input((4, 6))
    a = tf.maximum(x * 2.0 - y, 1.0 - x) / (tf.abs(y) + 1.0)
    b = tf.reduce_mean(a, axis=1, keepdims=True) + tf.reduce_sum(a, axis=-1, keepdims=True)
    c = tf.concat([a, tf.nn.relu6(b)], axis=-1)
    d = tf.transpose(tf.reshape(c, (-1, 2, 2, 12)), (0, 3, 1, 2))
    e = tf.squeeze(tf.expand_dims(d[:, 1:9:2, :, 0], 1), 1)
    f = tf.matmul(e, e, transpose_b=True)
    g, h = tf.split(f, 2, axis=1)
    i = tf.stack([tf.clip_by_value(g, -1.0, 1.0), tf.nn.leaky_relu(h), tf.nn.silu(g)], axis=1)
    return keras.Model([x, y], [i, tf.nn.softmax(f[:, -1]), tf.reduce_max(f, axis=(1, 2)), -tf.sqrt(tf.square(g))])


def masks(keras: Any) -> Any:
    """Recurrent layers of all kinds after a Masking; of the rectified steps of two features a quarter is zero."""
    kl = keras.layers
    x = keras.Input((9, 2))
    y = kl.Dropout(0.5)(kl.Masking()(kl.ReLU()(x)))
    sequence, *states = kl.LSTM(3, return_sequences=True, return_state=True)(y)
    last = kl.SimpleRNN(3, go_backwards=True)(sequence)
    gru = kl.GRU(4, return_sequences=True, go_backwards=True)(y)
    both = kl.Bidirectional(kl.LSTM(2, return_sequences=True), merge_mode="sum")(y)
    ends = kl.Bidirectional(kl.GRU(2))(kl.TimeDistributed(kl.Dense(3))(both))
    return keras.Model(x, [sequence, *states, last, gru, both, ends, kl.GlobalAveragePooling1D()(sequence)])


def masks_given(keras: Any) -> Any:
    """A mask, and states from before."""
    kl = keras.layers
    x, state = keras.Input((7, 2)), keras.Input((4,))
    made = kl.GRU(4, return_sequences=True, zero_output_for_mask=True)(kl.Masking()(kl.ReLU()(x)), initial_state=state)
    ends = kl.SimpleRNN(4)(kl.Masking(0.0)(kl.ReLU()(x)), initial_state=state)
    return keras.Model([x, state], [made, ends])


def padded_words(keras: Any) -> Any:
    """Numbers of words of which 0 is padding, before all that looks at the mask."""
    kl = keras.layers
    words = keras.Input((8,), dtype="int32")
    x = kl.Embedding(4, 6, mask_zero=True)(words)
    attended = kl.Attention()([x, x])
    added = kl.LayerNormalization()(kl.Add()([x, kl.Dense(6, activation="relu")(x)]))
    pooled = kl.GlobalAveragePooling1D()(kl.Concatenate()([x, added]))
    stacked = kl.LSTM(3)(kl.LSTM(3, return_sequences=True)(x))
    return keras.Model(words, [pooled, stacked, kl.GlobalAveragePooling1D()(attended)])


def padded_attention(keras: Any) -> Any:
    """Rows that do not count are left out: what attention makes of them is not defined."""
    kl = keras.layers
    words = keras.Input((8,), dtype="int32")
    x = kl.Embedding(4, 6, mask_zero=True)(words)
    y = kl.MultiHeadAttention(2, 3)(kl.Dense(6)(kl.Embedding(4, 6)(words)), x)
    return keras.Model(words, y)


def merges3(keras: Any) -> Any:
    """Functions that have the same class names as layers, in images."""
    x = keras.Input((6, 6, 3))
    y = keras.layers.Conv2D(4, 3, padding="same")(x)
    y = keras.ops.add(y, keras.layers.GlobalAveragePooling2D(keepdims=True)(y)) * keras.ops.hard_sigmoid(y)
    return keras.Model(x, keras.ops.subtract(y, 0.5))


NETWORKS = [
    Case("states_given", states_given),
    Case("encoder_decoder", encoder_decoder),
    Case("bidirectional_given", bidirectional_given),
    Case("nested", nested, formats=("keras", "h5")),
    Case("nested_sequential", nested_sequential),
    Case("sequential_unbuilt_input", sequential_unbuilt_input),
    Case("shared", shared),
    Case("shared_across", shared_across, generations=ONLY3),
    Case("shared_across_2", shared_across, generations=ONLY2, formats=("keras",)),  # tf-keras cannot reload its own .h5
    Case("frozen", frozen),
    Case("frozen_at_birth", frozen_at_birth),
    Case("many_ends", many_ends),
    Case("input_is_output", input_is_output),
    Case("distributed_model", distributed_model),
    Case("transformer", transformer, vocabulary=11),
    Case("masks", masks),
    Case("masks_given", masks_given),
    Case("padded_words", padded_words, vocabulary=4),
    Case("padded_attention", padded_attention, vocabulary=4),
    Case("excitation", excitation),
    Case("functions3", functions3, generations=ONLY3),
    Case("merges3", merges3, generations=ONLY3),
    Case("functions2", functions2, generations=ONLY2),
]
