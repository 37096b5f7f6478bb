#!/usr/bin/env python3
"""Times `dsl check` beside the linters of other languages, in one run, each on inputs of the same size and content.

    cargo build --release && benches/compare.py [--runs N] [--folder DIR]

The other tools come from PyPI (ruff, tombi) and npm (buf) into the folder; terraform is taken from the path. What is
not there is left out. Every command is run once to warm up, then all commands in turn, N times; the table gives the least
and the median of wall-clock time and of processor time (which a busy machine disturbs less), and the peak of memory.
"""

import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

PYTHON_HEAD = '''"""Everything that the shop runs."""

from datetime import timedelta
from typing import Literal

from deploy import (
    DockerImage,
    Environment,
    Group,
    Kubernetes,
    KubernetesService,
    Resource,
    Run,
    Stage,
)'''

PYTHON = '''

SRE_{n} = Group(members=["ada", "grace"])
MIGRATIONS_{n} = Resource(capacity=1)


def shop_{n}(version: str, tier: Literal["gold", "silver"] = "gold") -> KubernetesService:
    """Sells things."""
    return KubernetesService(
        artifact=DockerImage(image="registry.example.com/shop-{n}", tag=version),
        manifests=["k8s/*.yaml", f"k8s/{{tier}}/*.yaml"],
    )


PRODUCTION_{n} = Environment(
    kind="production",
    may_answer=[SRE_{n}],
    infrastructure=[
        Kubernetes(name="region1", context="prod", namespace="shop-{n}-1"),
        Kubernetes(name="region2", context="prod", namespace="shop-{n}-2"),
    ],
)


def rolling_{n}(
    stage: Stage,
    service: KubernetesService,
    infra: Kubernetes,
    soak: timedelta = timedelta(minutes=10),
    skip_check: bool = False,
) -> None:
    """A rolling update of one target, watched for a while."""
    with stage.phase("prepare") as phase, MIGRATIONS_{n}.use(permits=1):
        phase.shell(
            "migrate",
            script="./migrate up",
            env={{"REGION": infra.name, "IMAGE": service.artifact.image}},
            changes=True,
            undone_by="unmigrate",
        )
        phase.rollback.shell("unmigrate", script="./migrate down")

    with stage.phase("deploy") as phase:
        rollout = phase.kubernetes.rolling("rollout", timeout=timedelta(minutes=15))
        if not skip_check:
            with phase.section("look") as section:
                section.wait("soak", duration=soak)
                with section.parallel() as parallel:
                    url = f"https://{{infra.namespace}}.example.com/health"
                    parallel.http.check("ping", url=url, timeout=timedelta(minutes=1))
                    parallel.verify.command(
                        "load", script=f"load --at {{infra.namespace}} --limit 90"
                    )
                # A person looks before it is taken back.
                section.on_failure("verification").ask(
                    SRE_{n}, within=timedelta(minutes=30)
                ).rollback()
        every = [timedelta(seconds=10), timedelta(minutes=1)]
        phase.on_failure("connectivity", "timeout").retry(2, every=every).rollback()

    with stage.phase("wrap_up") as phase:
        phase.barrier("all_regions", timeout=timedelta(hours=3))
        phase.shell(
            "tell",
            script='tell "$TEXT"',
            env={{"TEXT": f"{{stage.name}} runs revision {{rollout.revision}}"}},
        )


def release_{n}(run: Run, version: str, careful: bool = True) -> None:
    run.approval("go", of=SRE_{n}, within=timedelta(days=2))
    with run.parallel() as parallel:
        for target in PRODUCTION_{n}.infrastructure:
            parallel.stage(
                f"deploy[{{target.name}}]",
                rolling_{n},
                service=shop_{n}(version),
                infra=target,
                soak=timedelta(minutes=30) if careful else timedelta(minutes=1),
                skip_check=False,
            )
'''

TOML = '''
[groups.sre_{n}]
members = ["ada", "grace"]

[resources.migrations_{n}]
capacity = 1

# Sells things.
[services.shop_{n}]
kind = "kubernetes"
tier = "gold"
artifact = {{ image = "registry.example.com/shop-{n}", tag = "1.4.0" }}
manifests = ["k8s/*.yaml", "k8s/gold/*.yaml"]

[environments.production_{n}]
kind = "production"
may_answer = ["sre_{n}"]
region1 = {{ context = "prod", namespace = "shop-{n}-1" }}
region2 = {{ context = "prod", namespace = "shop-{n}-2" }}

# A rolling update of one target, watched for a while.
[workflows.rolling_{n}]
strategy = "rolling"
soak = "10m"
skip_check = false

[workflows.rolling_{n}.prepare]
script = "./migrate up"
undone_by = "./migrate down"

[workflows.rolling_{n}.deploy]
timeout = "15m"
retry = {{ times = 2, every = ["10s", "1m"] }}
checks = ["https://shop-{n}.example.com/health", "load --limit 90"]
'''

PROTO = '''
// Sells things.
message Shop{n} {{
  string version = 1;
  string image = 2;
  repeated string manifests = 3;
  map<string, string> regions = 4;
}}

// A rolling update of one target, watched for a while.
message Rolling{n} {{
  Shop{n} shop = 1;
  string infrastructure = 2;
  int64 soak_seconds = 3;
  bool skip_check = 4;
  oneof check {{
    string url = 5;
    string command = 6;
  }}
}}

// What a release needs to know.
message Release{n} {{
  string version = 1;
  repeated Rolling{n} rollings = 2;
}}
'''

HCL = '''
# Sells things.
variable "shop_{n}_version" {{
  type        = string
  description = "What to roll out"
  default     = "1.4.0"
}}

locals {{
  shop_{n} = {{
    image     = "registry.example.com/shop-{n}:${{var.shop_{n}_version}}"
    manifests = ["k8s/*.yaml", "k8s/gold/*.yaml"]
    regions   = {{ region1 = "shop-{n}-1", region2 = "shop-{n}-2" }}
  }}
}}

# A rolling update of each target, watched for a while.
resource "terraform_data" "rolling_{n}" {{
  for_each = local.shop_{n}.regions
  input = {{
    region  = each.key
    image   = local.shop_{n}.image
    health  = "https://${{each.value}}.example.com/health"
    timeout = "15m"
  }}
}}

output "release_{n}" {{
  value = [for region, stage in terraform_data.rolling_{n} : "${{region}} runs ${{stage.output.image}}"]
}}
'''


MANIFEST = '''apiVersion: v1
kind: ConfigMap
metadata:
  name: shop
data:
  image: ${service.artifact.image}
'''


def lockstep_block():
    """The text that the benchmarks of the compiler repeat, too."""
    source = (ROOT / "compiler/tests/it/generate.rs").read_text()
    return re.search(r'const BLOCK: &str = r#"(.*?)"#;', source, re.S).group(1)


def fill(head, block, size):
    """Numbered blocks, as many as come nearest to that many bytes."""
    text, number = head, 0
    while len(text) + len(block(number)) / 2 < size:
        text += block(number)
        number += 1
    return text


def write(folder, files, size, name, head, block):
    """That many files; `name` and `head` know which one they are for."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(files):
        path = folder / name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fill(head(number), block, size))


def write_lockstep(folder, files, size):
    block = lockstep_block()
    write(folder, files, size, lambda n: f"m{n}/main.lockstep",
          lambda n: "//! Everything that the shop runs.\n", lambda n: block.replace("#", str(n)))
    add_manifests(folder)


def add_manifests(folder):
    """What the services name lies beside the source, in whichever language that is: none of the tools has anything to say."""
    for module in folder.iterdir():
        (module / "k8s").mkdir()
        (module / "k8s/shop.yaml").write_text(MANIFEST)


def inputs(folder, files, size):
    write_lockstep(folder / "lockstep", files, size)
    write(folder / "python", files, size, lambda n: f"m{n}/main.py",
          lambda n: PYTHON_HEAD, lambda n: PYTHON.format(n=n))
    write(folder / "toml", files, size, lambda n: f"m{n}/main.toml",
          lambda n: "# Everything that the shop runs.\n", lambda n: TOML.format(n=n))
    write(folder / "proto", files, size, lambda n: f"shop/m{n}/v1/main.proto",
          lambda n: f'// Everything that the shop runs.\nsyntax = "proto3";\n\npackage shop.m{n}.v1;\n',
          lambda n: PROTO.format(n=n))
    (folder / "proto/buf.yaml").write_text("version: v2\n")
    add_manifests(folder / "python")
    add_manifests(folder / "toml")


def written_by_people(folder, files, size):
    """Python as it is found: files of the standard library, those nearest to that size; and how many bytes that makes."""
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    found = [path for path in library.rglob("*.py") if "site-packages" not in path.parts]
    found.sort(key=lambda path: (abs(path.stat().st_size - size), path))
    shutil.rmtree(folder, ignore_errors=True)
    for number, path in enumerate(found[:files]):
        (folder / f"m{number}").mkdir(parents=True)
        shutil.copy(path, folder / f"m{number}/main.py")
    add_manifests(folder)
    return sum(path.stat().st_size for path in found[:files])


def install(folder):
    """The other tools, as far as they can be had: a command for each, and the folder that it looks at."""
    tools = {}
    venv = folder / "venv"
    if not (venv / "bin/tombi").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", "ruff", "tombi"], check=False)
    if (venv / "bin/ruff").exists():
        tools["ruff check"] = ("python", [venv / "bin/ruff", "check", "--no-cache", "--isolated", "."])
    if (venv / "bin/tombi").exists():
        tools["tombi lint"] = ("toml", [venv / "bin/tombi", "lint", "--offline", "."])
    # The program itself, not the script that npm puts in front of it.
    bufs = lambda: sorted(folder.glob("node/node_modules/@bufbuild/buf-*/bin/buf"))
    if not bufs() and shutil.which("npm"):
        subprocess.run(["npm", "install", "--silent", "--prefix", folder / "node", "@bufbuild/buf"], check=False)
    if bufs():
        tools["buf lint"] = ("proto", [bufs()[0], "lint"])
    return tools


def measure(command, where):
    """Wall-clock seconds, processor seconds, and peak memory in MB of one run."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(title, commands, runs):
    print(f"\n{title}\n")
    print("| command | input | wall min | wall median | cpu min | cpu median | memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for command, where in commands.values():
        measure(command, where)
    results = {name: [] for name in commands}
    for _ in range(runs):
        for name, (command, where) in commands.items():
            results[name].append(measure(command, where))
    for name, samples in results.items():
        wall, cpu, memory = zip(*samples)
        figures = [min(wall), statistics.median(wall), min(cpu), statistics.median(cpu)]
        cells = " | ".join(f"{figure * 1000:.1f} ms" for figure in figures)
        size = sum(path.stat().st_size for path in commands[name][1].rglob("main.*"))
        print(f"| {name} | {size / 1e6:.4g} MB | {cells} | {max(memory):.0f} MB |", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--folder", type=pathlib.Path, default=ROOT / "target/compare")
    arguments.add_argument("--dsl", type=pathlib.Path, default=ROOT / "target/release/dsl")
    given = arguments.parse_args()
    folder, dsl = given.folder.resolve(), given.dsl.resolve()
    if not dsl.exists():
        sys.exit(f"{dsl} is not there: `cargo build --release` first, or name it with --dsl")
    tools = install(folder)
    check = [dsl, "check", "."]
    for files, size, title in [
        (1, 4_600, "One file of about 150 lines"),
        (500, 18_000, "9 MB in 500 files"),
        (1000, 4_600, "1,000 files of about 150 lines"),
    ]:
        place = folder / f"{files}x{size}"
        inputs(place, files, size)
        commands = {"dsl check": (check, place / "lockstep")}
        commands |= {name: (command, place / source) for name, (source, command) in tools.items()}
        compare(title, commands, given.runs)
    if "ruff check" in tools:
        # As many bytes, with what people write instead of what is alike in both languages. What is found is not printed.
        place = folder / "people"
        size = written_by_people(place / "python", 500, 18_000)
        write_lockstep(place / "lockstep", 500, size // 500)
        commands = {"dsl check": (check, place / "lockstep"),
                    "ruff check": (tools["ruff check"][1] + ["--silent"], place / "python")}
        compare(f"{size / 1e6:.1f} MB in 500 files, Python's own standard library for ruff", commands, given.runs)
    if shutil.which("terraform"):
        # Terraform validates one folder at a time.
        place = folder / "one"
        inputs(place, 1, 200_000)
        write(place / "terraform", 1, 200_000, lambda n: "main.tf",
              lambda n: "# Everything that the shop runs.\n", lambda n: HCL.format(n=n))
        subprocess.run(["terraform", "init", "-input=false"], cwd=place / "terraform", check=False,
                       stdout=subprocess.DEVNULL)
        compare("200 KB in one file", {
            "dsl check": (check, place / "lockstep"),
            "terraform validate": (["terraform", "validate"], place / "terraform"),
        }, given.runs)


if __name__ == "__main__":
    main()
