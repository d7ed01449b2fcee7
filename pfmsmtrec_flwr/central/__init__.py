"""Methods that see the rows of all scenarios, or of each, in one process."""
