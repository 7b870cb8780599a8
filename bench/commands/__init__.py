"""One file a command: `SUMMARY`, `add_arguments(parser)` and `run(arguments) -> exit code`."""
