"""The swarm: scenarios become requests, sent by Locust in a child process, kept as raw records."""
