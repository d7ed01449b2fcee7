"""Checkpoints of a run on the server: what they hold, how they are written and read, and what must be the same."""
