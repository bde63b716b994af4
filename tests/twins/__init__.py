"""Brute-force twins of the designs, which share no algebra with them."""
