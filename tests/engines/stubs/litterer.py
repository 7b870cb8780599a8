"""A server that leaves a temporary folder, names it in the file READY, and `stays` or ends."""

import sys
import tempfile
import time
from pathlib import Path

ready, then = Path(sys.argv[1]), sys.argv[2]
folder = Path(tempfile.mkdtemp())
(folder / "left").touch()
part = ready.with_suffix(".part")
part.write_text(str(folder))
part.rename(ready)
if then == "stays":
    time.sleep(600)
