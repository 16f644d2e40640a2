"""The operators of the canonical graph: which there are, how nodes are built and asked about, what a graph keeps to."""
