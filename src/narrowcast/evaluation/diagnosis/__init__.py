"""Where a quantised network loses what its float one says, why, and what to do."""
