"""Put into a generated project, as its app `probe`."""
