"""The harness held against a server whose every token has a written-down instant.

`cases` says what is asked and how exact the answer must be, `segment` runs one client against one
server, `compare_ledger` subtracts the truth from what was measured, `verdict` decides.
"""
