"""`coldcredctl` with `spy_worker` in its worker's place: `python -P spied_ctl.py NOTES ORDERS ARGUMENT...`."""

import sys
from pathlib import Path

from appliance.cli import main
from hsm.process import COMMAND
from hsm.supervisor import WorkerKeyStore

if __name__ == "__main__":
    notes, orders, *arguments = sys.argv[1:]
    spy = str(Path(__file__).with_name("spy_worker.py"))
    command = (COMMAND[0], "-I", spy, notes, orders)
    WorkerKeyStore.__init__.__kwdefaults__ = {**(WorkerKeyStore.__init__.__kwdefaults__ or {}), "command": command}
    sys.exit(main(arguments))
