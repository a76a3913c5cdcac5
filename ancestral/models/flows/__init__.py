"""Normalizing flows: invertible maps with a tractable log-determinant."""
