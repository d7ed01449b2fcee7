"""The server's side of the federation: the Strategy, the round loop, the parameters, the admission of replies."""
