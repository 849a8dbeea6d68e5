"""fuzz_target: a file with LLVMFuzzerTestOneInput(), as a fuzzer and as a test of its corpus."""

load("//bazel:defs.bzl", "cc_binary", "cc_test")

def fuzz_target(name, deps = []):
    """NAME.c and corpus/NAME make NAME_fuzz (scripts/fuzz builds and runs it) and NAME_corpus_test."""
    cc_binary(
        name = name + "_fuzz",
        testonly = True,
        srcs = [name + ".c"],
        # With main(), which only clang has: --config=fuzz.
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzz", "manual"],
        deps = [":node_header"] + deps,
    )
    cc_test(
        name = name + "_corpus_test",
        srcs = [name + ".c", "replay.c"],
        args = [native.package_name() + "/corpus/" + name],
        data = native.glob(["corpus/%s/*" % name]),
        deps = [":node_header"] + deps,
    )
