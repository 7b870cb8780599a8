"""The search for saturation: the highest offered rate at which a server keeps its objectives."""
