"""Published sources, one a file: the original format to a tidy table."""
