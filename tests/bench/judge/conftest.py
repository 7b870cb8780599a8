import sys
from pathlib import Path

# The generator of run directories is shared with the tests of reports.
sys.path.insert(0, str(Path(__file__).parent))
