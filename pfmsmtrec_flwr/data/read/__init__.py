"""Reading of tables: files, parsing, and errors that name file, line and column."""
