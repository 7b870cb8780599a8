import sys
from pathlib import Path

# The makers of runs and run directories live beside the tests of judging.
sys.path.insert(0, str(Path(__file__).parents[1] / "judge"))
