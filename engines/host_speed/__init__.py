"""How fast this machine reads memory and multiplies: measured in a child process, kept by host."""
