"""Verbs: each written once, over the primitives of models."""
