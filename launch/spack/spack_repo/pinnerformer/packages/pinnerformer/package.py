"""Recipe for Spack: LibTorch, NCCL and Arrow are Spack's own, so nothing is linked or copied from wheels."""
from spack.package import *
from spack_repo.builtin.build_systems.cmake import CMakePackage
from spack_repo.builtin.build_systems.cuda import CudaPackage


class Pinnerformer(CMakePackage, CudaPackage):
    """Distributed trainer of PinnerFormer user representations."""

    # A checkout, by `spack develop` or `spack dev-build`: the project has no release archive yet.
    version("0.1.0")

    variant("cuda", default=False, description="GPUs, with NCCL")
    variant("jemalloc", default=True, description="Allocator that keeps a training small")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    generator("ninja")

    depends_on("py-torch@2.11:")
    depends_on("arrow +parquet")
    depends_on("mpi")
    depends_on("hdf5 ~mpi")
    depends_on("openssl@3:")
    depends_on("yaml-cpp")
    depends_on("boost +program_options")
    depends_on("nlohmann-json")
    depends_on("xxhash")
    depends_on("hnswlib")
    depends_on("jemalloc", when="+jemalloc")
    with when("+cuda"):
        depends_on("cuda@13:")
        depends_on("nccl")
        depends_on("py-torch +cuda +nccl")

    conflicts("%gcc@:10", msg="C++20 needs GCC 11 or newer")

    def cmake_args(self):
        # Spack names the folders of LibTorch, and of all others, in CMAKE_PREFIX_PATH.
        return [
            self.define("PF_TESTS", False),
            self.define_from_variant("PF_CUDA", "cuda"),
            self.define("PF_VENV", ""),
        ]
