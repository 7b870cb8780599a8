import sys
from pathlib import Path

# The makers of run directories live beside the tests of judging, those of decided ones here.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "judge"), str(HERE)]
