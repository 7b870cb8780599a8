"""Set-up: everything from a bare Python to running engines. Standard library only.

`python3 -I engines/provision` needs no environment, because it makes one. Each step has a stamp, a
hash of what went into it, written last: so set-up can be repeated (nothing happens), interrupted at
any point (the next run goes on), and started twice at once (the second waits for the first).
"""
