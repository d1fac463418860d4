"""Recipe for Spack: headers of the index of item vectors, which Spack itself does not have."""
from spack.package import *
from spack_repo.builtin.build_systems.cmake import CMakePackage


class Hnswlib(CMakePackage):
    """Header-only library for approximate nearest neighbours."""

    homepage = "https://github.com/nmslib/hnswlib"
    git = "https://github.com/nmslib/hnswlib.git"

    version("0.8.0", tag="v0.8.0")

    depends_on("cxx", type="build")

    def cmake_args(self):
        return [self.define("HNSWLIB_EXAMPLES", False)]
