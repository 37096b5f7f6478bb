#!/usr/bin/env python3
"""What the proof and the rehearsal of every failure cost, as docs/performance.md has it.

    cargo build --release && benches/proof.py [--dsl PROGRAM] [--quick]

The share of `dsl check` that proving takes on each example, as `dsl check --explain-proof` says; the time of the proof, and
the memory of the whole process, for groups of stages with twenty steps and five barriers; and what `dsl simulate
--every-failure` costs for these, in processor time. `--quick` leaves the largest out.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*command):
    """Output and errors, processor time in seconds, and the peak of memory in megabytes."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return out.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def workflow(name, changes, asks=None, parameter=None):
    """Twenty steps, a barrier behind every fourth; changing ones are undone by a block."""
    lines = [f"workflow {name}({'skips: bool, ' if parameter else ''}service: service<local>, infra: infrastructure<local>) {{", "  phase p {"]
    undone = []
    for step in range(20):
        skip = "skip if skips, " if parameter and step == 5 else ""
        if changes(step):
            lines.append(f'    step c{step} = local.command {{ {skip}script = "t", changes = true, undone_by = u{step} }}')
            undone.append(step)
        elif step == 0:
            lines.append("    step c0 = local.deploy {}")
        else:
            lines.append(f'    step c{step} = shell {{ {skip}script = "t" }}')
        if step % 4 == 3:
            lines.append(f"    barrier b{step // 4} {{ timeout = 4h }}")
    lines.append("    rollback {")
    for number, step in enumerate(reversed(undone)):
        skip = f"skip if {asks}, " if asks and number == len(undone) - 1 else ""
        lines.append(f'      step u{step} = local.command {{ {skip}script = "t" }}')
    lines += ["      step back = local.rollback {}", "    }", "  }", "}"]
    return "\n".join(lines)


def module(folder, stages, differ=False, **more):
    """A group of so many stages, of one workflow or each of its own."""
    folder.mkdir()
    own = lambda stage: lambda step: step % 3 == 1 or (differ and step % 2 == 0 and step > 0 and stage >> (step // 2) & 1)
    lines = ["environment e {"]
    lines += [f'  infrastructure i{n} = local {{ root = "/tmp/z{n}" }}' for n in range(stages)]
    lines += ["}", 'service s = local { artifact = other { path = "s" } }']
    lines += [workflow(f"w{n}", own(n), **more) for n in range(stages if differ else 1)]
    parameters = ", ".join(f"p{n}: bool = false" for n in range(12)) if more.get("parameter") else ""
    lines += [f"pipeline q({parameters}) {{" if parameters else "pipeline q {", "  parallel all_or_nothing {"]
    for n in range(stages):
        skips = f"skips = p{n % 12}, " if parameters else ""
        lines.append(f"    stage s{n} = w{n if differ else 0} {{ {skips}service = s, infra = e.i{n} }}")
    lines += ["  }", "}"]
    (folder / "m.lockstep").write_text("\n".join(lines) + "\n")
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsl", default=ROOT / "target/release/dsl", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if not args.dsl.exists():
        sys.exit(f"{args.dsl} is not there: cargo build --release")
    print("| example | proving, whole check, share |\n| --- | --- |")
    for example in sorted({path.parent for path in (ROOT / "examples").glob("*/*.lockstep")}):
        if example.name != "wrong":
            said, _, _ = run(args.dsl, "check", "--explain-proof", example)
            share = re.search(r"^proving took (.*)$", said, re.M)
            print(f"| {example.name} | {share[1] if share else said.strip().splitlines()[-1]} |")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        groups = [
            ("50 stages of one workflow", module(folder / "one50", 50)),
            ("50 stages that all differ", module(folder / "own50", 50, differ=True)),
            ("50 stages, twelve parameters that skip", module(folder / "skip50", 50, parameter=True)),
            ("50 stages whose undoing asks", module(folder / "ask50", 50, asks='failure.step == "nosuch"')),
            ("200 stages whose undoing asks", module(folder / "ask200", 200, asks='failure.step == "nosuch"')),
        ]
        if not args.quick:
            groups.append(("1,000 stages of one workflow", module(folder / "one1000", 1000)))
        print("\n| group | verdict | proof | memory |\n| --- | --- | --- | --- |")
        for name, path in groups:
            said, _, memory = run(args.dsl, "check", "--explain-proof", path)
            verdict = re.search(r"all_or_nothing at .*: (.*)$", said, re.M)
            time = re.search(r"^ +in (.*)$", said, re.M)
            print(f"| {name} | {verdict and verdict[1]} | {time and time[1]} | {memory:.0f} MB |")
        print("\n| every failure of | failures | processor time | memory |\n| --- | --- | --- | --- |")
        for name, path in [group for group in groups if "asks" not in group[0] and "skip" not in group[0]]:
            said, seconds, memory = run(args.dsl, "simulate", path, "q", "--every-failure")
            failures = re.search(r"^(\d+) failures?,", said, re.M)
            print(f"| {name} | {failures and failures[1]} | {seconds:.1f} s | {memory:.0f} MB |")


if __name__ == "__main__":
    main()
