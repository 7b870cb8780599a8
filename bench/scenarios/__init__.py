"""Scenario files (TOML): what one user asks of a server. `bench.load.scenario` reads them."""
