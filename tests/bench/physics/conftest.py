import sys
from pathlib import Path

# What is made up is shared between these tests; runs are made up by the tests of judging.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "judge")]
