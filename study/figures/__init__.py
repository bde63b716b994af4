"""A few charts, each drawn from frames or arrays."""
