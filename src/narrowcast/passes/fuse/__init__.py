"""Rules that bring one network's many spellings to one. One subject a module; `canonicalize` applies them all."""
