"""Autoencoders and other models learned for their codes."""
