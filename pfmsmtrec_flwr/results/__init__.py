"""Results of runs: the files they write, their progress and their tables."""
