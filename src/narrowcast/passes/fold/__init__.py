"""passes/fold."""
