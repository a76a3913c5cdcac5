"""Tests that every registered model passes, on each of its `examples`.

A model of another package gets them too: install it, so that its entry point registers it, and run
`pytest tests/contracts -k NAME` here.
"""
