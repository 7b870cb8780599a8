"""What is served: catalogue, recipes, artefacts, the embedded model. Knows no engine, no load."""
