"""What a machine could do at best with a variant: bytes, operations, ceilings, shares."""
