"""The prepared store: its format on disk, its reader and its writer."""
