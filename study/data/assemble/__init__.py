"""From the published originals to everything in ``data/`` that is derived from them."""
