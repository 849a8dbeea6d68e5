"""The rules that this project's BUILD files use, so that one file knows where they come from."""

load("@rules_cc//cc:defs.bzl", _cc_binary = "cc_binary", _cc_library = "cc_library", _cc_test = "cc_test")
load("@rules_cc//cc/common:cc_info.bzl", "CcInfo")
load("@rules_shell//shell:sh_binary.bzl", _sh_binary = "sh_binary")
load("@rules_shell//shell:sh_test.bzl", _sh_test = "sh_test")

# -Idsm/include here, not includes = [...] there: `includes` becomes -isystem, which silences
# warnings in our own headers and makes gcov place functions at their prototypes.
COPTS = [
    "-Idsm/include",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
    "-Wpointer-arith",
    "-Wwrite-strings",
    "-Werror",
    # The fault handler runs as a signal handler: a thread-local must be there without __tls_get_addr,
    # which may allocate.
    "-ftls-model=initial-exec",
]

# A test that needs root, userfaultfd, hugetlbfs or several processes: outside the sandbox (userfaultfd is
# refused in it), alone, never from the cache.
SYSTEM_NOT_ALONE = ["external", "local", "no-sandbox", "system"]
SYSTEM = SYSTEM_NOT_ALONE + ["exclusive"]

def cc_library(copts = [], **kw):
    _cc_library(copts = COPTS + copts, **kw)

def cc_binary(copts = [], **kw):
    _cc_binary(copts = COPTS + copts, **kw)

# Tests are linked statically (but for the system's libraries): a shared object of a library that is not linked with
# what it needs would bind to the oldest version of each symbol, and libibverbs has old versions of many.
def cc_test(copts = [], size = "small", **kw):
    _cc_test(copts = COPTS + copts, size = size, linkstatic = True, **kw)

def system_test(copts = [], tags = [], size = "medium", **kw):
    """A cc_test of one process that asks the kernel for more than a sandbox gives."""
    _cc_test(copts = COPTS + copts, tags = SYSTEM + tags, size = size, linkstatic = True, **kw)

sh_binary = _sh_binary
sh_test = _sh_test

def mpi_test(name, binary, nodes, args = [], tags = [], size = "medium", **kw):
    """Runs `mpirun -n nodes binary` (a cc_binary) as a test."""
    _sh_test(
        name = name,
        size = size,
        srcs = ["//scripts:mpirun.sh"],
        args = [str(nodes), "$(rootpath %s)" % binary] + args,
        data = [binary],
        tags = SYSTEM + ["mpi"] + tags,
        **kw
    )

def _cc_archive_impl(ctx):
    objs = []
    for d in ctx.attr.deps:
        for li in d[CcInfo].linking_context.linker_inputs.to_list():
            if li.owner.workspace_name == ctx.label.workspace_name:
                for lib in li.libraries:
                    objs += lib.pic_objects or lib.objects
    out = ctx.actions.declare_file(ctx.label.name)
    args = ctx.actions.args()
    args.add(out).add_all(objs, uniquify = True)
    ctx.actions.run_shell(
        command = 'rm -f "$1" && exec ar rcsD "$@"',
        arguments = [args],
        inputs = objs,
        outputs = [out],
        mnemonic = "CcArchive",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

cc_archive = rule(
    implementation = _cc_archive_impl,
    attrs = {"deps": attr.label_list(providers = [CcInfo])},
    doc = "One .a with the objects of deps and of every library of this repository below them.",
)
