"""Data-generating processes calibrated to a panel, and the design tournament on panels that they draw."""
