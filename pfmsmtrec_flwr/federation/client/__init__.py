"""One scenario's side of the federation: the client that answers orders, its memory, training and measurements."""
