"""Latent variable models, scored by a bound."""
