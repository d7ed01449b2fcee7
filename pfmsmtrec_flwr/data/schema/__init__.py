"""Schema of a data set: its sections and their checks."""
