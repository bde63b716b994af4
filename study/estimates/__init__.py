"""Estimates with their standard errors, averages, bands, tests and power."""
