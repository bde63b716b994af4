"""Everything that builds ``data/``: sources, institutions, grants, topics and panels."""
