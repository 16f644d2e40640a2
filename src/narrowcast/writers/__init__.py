"""A model to a file: one package a format, and `formats`, the table of them."""
