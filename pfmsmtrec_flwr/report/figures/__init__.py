"""The pictures of a report, a file for each kind."""
