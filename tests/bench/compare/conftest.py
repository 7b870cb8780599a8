import sys
from pathlib import Path

# The made-up runs beside this file, and the made-up run directories of the judge's tests.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "judge"))
