"""Generated projects on a real Docker engine, as Docker Compose runs them."""
