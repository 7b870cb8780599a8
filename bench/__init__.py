"""Load, records, metrics, comparison, report and command line. Knows no engine's insides."""
