"""Schemas of data sets, a YAML file each."""
