#!/usr/bin/env python3
"""Writes compile_commands.json, for clangd and clang-tidy, from what Bazel would run. Downloads nothing.

usage: scripts/compile_commands.py [BAZEL OPTION...]    such as --config=debug

The environment's BAZEL names the command, if not bazel. Generated headers are found once that configuration was built.
"""

import json
import os
import subprocess
import sys

# Known to gcc only.
GCC_ONLY = {"-fno-canonical-prefixes", "-fno-working-directory", "-pass-exit-codes", "-Wno-free-nonheap-object",
            "-fno-canonical-system-headers"}


def bazel(*arguments):
    command = os.environ.get("BAZEL", "bazel").split() + list(arguments)
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, text=True).stdout


def compile_actions(options):
    text = bazel("aquery", "--output=jsonproto", "--include_artifacts=false", *options,
                 'mnemonic("CppCompile", //...)')
    return [action["arguments"] for action in json.loads(text).get("actions", [])]


def database(workspace, execution_root, actions):
    """One entry for each C source of ours; a file is compiled several times, the first will do."""
    entries = {}
    for arguments in actions:
        source = arguments[arguments.index("-c") + 1]
        if source.startswith(("external/", "bazel-out/")) or not source.endswith(".c"):
            continue
        path = os.path.join(workspace, source)
        command = [path if word == source else word for word in arguments if word not in GCC_ONLY]
        entries.setdefault(source, {"directory": execution_root, "file": path, "arguments": command})
    return [entries[source] for source in sorted(entries)]


def main(options):
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    try:
        entries = database(bazel("info", "workspace").strip(), bazel("info", "execution_root").strip(),
                           compile_actions(options))
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stderr)
        return 1
    with open("compile_commands.json", "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
    sys.stderr.write("compile_commands.json: %d files\n" % len(entries))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
