"""A run's configuration: one TOML file, every key known."""
