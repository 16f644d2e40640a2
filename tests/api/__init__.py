"""What the tests of the verbs share."""

SAMPLES = 24
SCHEMES = ("float32", "float16", "dynamic_range", "int8", "full_int8", "int16x8")


def names(folder):
    return sorted(path.name for path in folder.iterdir())
