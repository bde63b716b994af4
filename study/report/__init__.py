"""Results as tables, figures, numbers and a record of every estimate."""
