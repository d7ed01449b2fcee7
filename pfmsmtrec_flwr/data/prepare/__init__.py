"""Preparation of stores from the files of a data set."""
