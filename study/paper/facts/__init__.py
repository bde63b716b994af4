"""The seed paper's descriptive facts, recomputed beside the published values."""
