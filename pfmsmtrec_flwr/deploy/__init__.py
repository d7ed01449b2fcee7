"""A deployment on several machines: its files, its launchers, and checks of both."""
