"""What other load generators say of the same server, held against its ledger.

`peer` is the interface of `bench/selftest/peers/*`, `load_cases` says what is asked, `environment`
installs a tool, `watched` runs it and counts its processor time, `truth` computes from the ledger
what it should have said, `row` puts both side by side, `own_bounds` holds our own client to its
bounds, `comparison` runs everything, `tables` shows it. `profile` says where our own time goes.
"""
