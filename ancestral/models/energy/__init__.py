"""Energy models, with an unnormalised density."""
