"""Draft of a schema for a user's own table: a profile of its columns, guesses, and the written schema."""
