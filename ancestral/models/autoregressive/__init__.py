"""Autoregressive models: p(x) as a product of conditionals."""
