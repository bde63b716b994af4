"""Panels, questions and samples, and the rules that a user's table has to keep."""
