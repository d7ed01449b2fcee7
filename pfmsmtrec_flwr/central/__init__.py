"""Methods that see the rows themselves, of all scenarios or of each, in one process."""
