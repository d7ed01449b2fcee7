"""One scenario's side of the federation: its client, what it remembers, what it measures."""
