"""pkg_config_library: a local repository that turns pkg-config modules into one cc_library.

@NAME//:NAME   cc_library (headers symlinked in, so the sandbox and the .d check accept them)
@NAME//:defs.bzl   FOUND (bool), VERSION, CFLAGS, LIBS   - usable in BUILD files through load()
Nothing is downloaded. After a system package changes: bazel sync --configure (4..7).
"""

def _query(rctx, argv):
    r = rctx.execute(argv)
    return r.stdout.strip() if r.return_code == 0 else None

def _flags(text):
    return [f for f in text.replace("\n", " ").split(" ") if f]

def _discover(rctx):
    """-> (cflags, libs, version) or None."""
    cflags, libs, version = [], [], []
    pc = rctx.os.environ.get("PKG_CONFIG", "") or rctx.which("pkg-config")
    ok = pc != None
    chosen = rctx.os.environ.get(rctx.attr.modules_env, "") if rctx.attr.modules_env else ""
    for alternatives in ([chosen] if chosen else rctx.attr.modules) if ok else []:
        found = False
        for m in alternatives.split("|"):
            v = _query(rctx, [pc, "--modversion", m])
            if v != None and not found:
                found = True
                version.append(v)
                cflags += _flags(_query(rctx, [pc, "--cflags", m]))
                libs += _flags(_query(rctx, [pc, "--libs", m]))
        ok = ok and found
    if ok:
        return cflags, libs, " ".join(version)
    if rctx.attr.wrapper:  # mpicc: Open MPI -showme:*, MPICH -show
        cc = rctx.os.environ.get(rctx.attr.wrapper_env, "") or rctx.which(rctx.attr.wrapper)
        if cc:
            out = _query(rctx, [cc, "-showme"]) or _query(rctx, [cc, "-show"])
            if out:
                words = _flags(out)[1:]
                return (
                    [w for w in words if w[:2] in ("-I", "-D")],
                    [w for w in words if w[:2] in ("-L", "-l") or w.startswith("-Wl,")],
                    "unknown",
                )
    return None

def _impl(rctx):
    got = _discover(rctx)
    if got == None and not rctx.attr.optional:
        fail("%s: pkg-config does not know %s; install its -dev package or set PKG_CONFIG_PATH" % (rctx.name, rctx.attr.modules))
    cflags, libs, version = got or ([], [], "")
    lib = rctx.attr.lib or rctx.name.split("~")[-1].split("+")[-1]
    includes, defines, globs = [], [], []
    for f in cflags:
        if f.startswith("-D"):
            defines.append(f[2:])
        elif f.startswith("-I"):
            d = f[2:]
            if d.rstrip("/") == "/usr/include":
                continue
            # An -I directory may lie inside another one; each gets its own link.
            link = "include/%d" % len(includes)
            rctx.symlink(d, link)
            includes.append(link)
            globs.append(link + "/**")
    rctx.file("defs.bzl", "FOUND = %r\nVERSION = %r\nCFLAGS = %r\nLIBS = %r\n" % (got != None, version, cflags, libs))
    rctx.file("BUILD.bazel", """load("@rules_cc//cc:defs.bzl", "cc_library")
cc_library(
    name = %r,
    hdrs = glob(%r, allow_empty = True),
    includes = %r,
    defines = %r,
    linkopts = %r,
    visibility = ["//visibility:public"],
)
""" % (lib, globs, includes, defines, libs))

pkg_config_library = repository_rule(
    implementation = _impl,
    attrs = {
        "modules": attr.string_list(mandatory = True, doc = "pkg-config modules; 'a|b' means the first that exists"),
        "modules_env": attr.string(doc = "environment variable that names the module instead"),
        "lib": attr.string(doc = "name of the cc_library; the repository's name by default"),
        "optional": attr.bool(default = False, doc = "if missing, make an empty library and FOUND = False"),
        "wrapper": attr.string(doc = "compiler wrapper to ask when pkg-config does not know"),
        "wrapper_env": attr.string(doc = "environment variable naming the wrapper"),
    },
    configure = True,
    local = True,
    environ = ["PATH", "PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "MPICC", "MPI_PKG"],
)
