"""A first schema for a table of one's own: a profile of its columns, guesses, the written schema."""
