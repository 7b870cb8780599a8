"""Deciding: what variants gain, save and lose against each other, and which one to run. Pure."""
