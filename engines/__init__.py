"""How a server is started, watched and stopped: one file an engine. Knows no load and no metric."""
