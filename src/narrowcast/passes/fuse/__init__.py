"""passes/fuse."""
