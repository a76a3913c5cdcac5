"""Models trained against a critic, without a likelihood."""
