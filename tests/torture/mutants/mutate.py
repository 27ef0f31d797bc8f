#!/usr/bin/env python3
"""Takes guards and recovery steps out of the service, one at a time (mutants.toml), and plays seeds of the fault campaign until one
fails. A mutant that no seed notices, or another invariant than those named, is a failure of the campaign.

    tests/torture/mutants/mutate.py [--days N] [--seeds N] [--target DIR] [NAME-PART]

Works on a copy of the tree; the build's target directory is kept between mutants.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent


def mutate(tree: pathlib.Path, mutant: dict) -> str:
    """Replaces the text; gives back what was there."""
    file = tree / mutant["file"]
    text = file.read_text()
    if text.count(mutant["find"]) != 1:
        sys.exit(f"{mutant['name']}: the text to replace is not found exactly once in {mutant['file']}; bring mutants.toml up to date")
    file.write_text(text.replace(mutant["find"], mutant["replace"]))
    return text


def build(tree: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    command = ["cargo", "build", "--quiet", "--target-dir", target]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    if built.returncode:
        sys.exit("the mutant cannot be built:\n" + built.stderr[-3000:])
    return target / "debug" / "xensnap"


def caught(program: pathlib.Path, mutant: dict, seeds: int, days: int) -> tuple[int, set[str]] | None:
    """The first seed that fails, with the invariants that it broke."""
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory(dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None) as folder:
            command = [program, "torture", "--seed", str(seed), "--days", str(days), "--no-shrink", "--folder", folder]
            played = subprocess.run(command, capture_output=True, text=True)
        broken = set(re.findall(r"^  ([a-z-]+): ", played.stdout, re.MULTILINE))
        if broken:
            return seed, broken
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=25)
    parser.add_argument("--target", type=pathlib.Path, default=ROOT / "target" / "mutants")
    parser.add_argument("part", nargs="?", default="", help="only mutants whose name has this in it")
    args = parser.parse_args()
    mutants = [mutant for mutant in tomllib.loads((HERE / "mutants.toml").read_text())["mutant"] if args.part in mutant["name"]]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("target", ".git"))
        for mutant in mutants:
            before = mutate(tree, mutant)
            found = caught(build(tree, args.target), mutant, args.seeds, args.days)
            (tree / mutant["file"]).write_text(before)
            expected = set(mutant["caught_by"])
            if found and found[1] & expected:
                print(f"caught   {mutant['name']}: seed {found[0]}, {', '.join(sorted(found[1]))}", flush=True)
            else:
                missed.append(mutant["name"])
                what = f"seed {found[0]} broke {', '.join(sorted(found[1]))} instead" if found else f"no seed of {args.seeds} notices"
                print(f"MISSED   {mutant['name']}: {what}", flush=True)
    print(f"{len(mutants) - len(missed)} of {len(mutants)} were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
