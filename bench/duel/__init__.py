"""Interleaved measurement of two sides, stopped when the ratio is known well enough."""
