"""The system libraries that the project stands on: one repository for each, found by pkg-config."""

load("//bazel:pkg_config.bzl", "pkg_config_library")

def system_deps():
    pkg_config_library(name = "ibverbs", modules = ["libibverbs"])
    pkg_config_library(name = "hwloc", modules = ["hwloc"])
    pkg_config_library(name = "cmocka", modules = ["cmocka"])
    pkg_config_library(name = "jansson", modules = ["jansson"])

    # The first candidate that exists wins: Open MPI, then MPICH, then `mpicc -show`.
    # --repo_env=MPI_PKG=mpich asks for one by name.
    pkg_config_library(
        name = "mpi",
        modules = ["ompi-c|mpich|mpi-c"],
        modules_env = "MPI_PKG",
        wrapper = "mpicc",
        wrapper_env = "MPICC",
    )
