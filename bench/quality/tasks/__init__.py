"""Tasks with a right answer for each item, and what two variants say of the same items."""
