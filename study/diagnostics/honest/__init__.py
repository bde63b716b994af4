"""Robust inference under restrictions on violations of parallel trends, on arrays (Rambachan and Roth 2023)."""
