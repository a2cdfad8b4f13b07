"""Real servers for tests: each is a context manager bound to 127.0.0.1."""
