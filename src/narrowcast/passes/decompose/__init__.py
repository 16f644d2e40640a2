"""passes/decompose."""
