"""`coldcredctl` with the spy in its worker's place: `python -P spied_ctl.py NOTES ORDERS ARGUMENT...` (see spy_worker)."""

import sys
from pathlib import Path

from appliance.cli import main
from hsm.process import COMMAND
from hsm.supervisor import WorkerKeyStore

if __name__ == "__main__":
    notes, orders, *arguments = sys.argv[1:]
    spy = str(Path(__file__).with_name("spy_worker.py"))
    WorkerKeyStore.__init__.__kwdefaults__["command"] = (COMMAND[0], "-I", spy, notes, orders)
    sys.exit(main(arguments))
