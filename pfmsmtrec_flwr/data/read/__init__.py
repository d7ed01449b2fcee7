"""Files of rows: where they are, how they are parsed, and what is wrong with those that cannot be."""
