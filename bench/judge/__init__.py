"""From raw records to numbers: reads a run directory, writes its summary, needs no server."""
