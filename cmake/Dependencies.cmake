# Every third-party package becomes an imported target here; folders link targets only.
#   pf::torch pf::mpi pf::nccl pf::hdf5 pf::arrow pf::yaml pf::options pf::json pf::xxhash pf::malloc
#   pf::crypto pf::hnsw
#
# LibTorch and Arrow come from the wheels in the project's virtual environment unless the user
# points CMAKE_PREFIX_PATH at their own.

set(PF_VENV ${CMAKE_SOURCE_DIR}/.venv CACHE PATH "virtual environment made by launch/setup.sh")
file(GLOB PF_SITE ${PF_VENV}/lib/python3*/site-packages)

# --- LibTorch ---------------------------------------------------------------------------------
include(FindCudaCompiler)
if(NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST} AND NOT DEFINED TORCH_CUDA_ARCH_LIST)
  set(TORCH_CUDA_ARCH_LIST 8.0 9.0+PTX)  # A100, H100/H200, and newer ones by PTX
endif()
# One CUDA runtime per process: the shared one that LibTorch brings, not a second, static one.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
# LibTorch's files warn about libraries that it already contains; its errors still show.
set(CMAKE_MESSAGE_LOG_LEVEL ERROR)
# A prefix of the user, given with -D or by the environment, comes before HINTS.
find_package(Torch QUIET CONFIG HINTS ${PF_SITE}/torch)
unset(CMAKE_MESSAGE_LOG_LEVEL)
if(NOT Torch_FOUND)
  message(FATAL_ERROR
    "LibTorch was not found. Run ./launch/setup.sh, or point -DCMAKE_PREFIX_PATH at your own LibTorch.")
endif()
add_library(pf_torch INTERFACE)
add_library(pf::torch ALIAS pf_torch)
target_link_libraries(pf_torch INTERFACE ${TORCH_LIBRARIES})
include(CheckAbi)
message(STATUS "LibTorch ${Torch_VERSION}: ${TORCH_INSTALL_PREFIX}")

if(PF_CUDA AND NOT TARGET torch_cuda)
  message(STATUS "This LibTorch has no CUDA: building without the CUDA and NCCL code")
  set(PF_CUDA OFF)
elseif(PF_CUDA)
  message(STATUS "CUDA compiler ${CMAKE_CUDA_COMPILER_VERSION}: ${CMAKE_CUDA_COMPILER}")
endif()

# --- NCCL -------------------------------------------------------------------------------------
if(PF_CUDA)
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${PF_SITE}/nvidia/nccl/include)
  find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 NAMES_PER_DIR HINTS ${PF_SITE}/nvidia/nccl/lib)
  if(NOT NCCL_INCLUDE_DIR OR NOT NCCL_LIBRARY)
    message(FATAL_ERROR
      "NCCL was not found. Install it (libnccl2 and libnccl-dev) or name it with "
      "-DNCCL_INCLUDE_DIR and -DNCCL_LIBRARY; -DPF_CUDA=OFF builds without it, for CPUs only.")
  endif()
  add_library(pf_nccl INTERFACE)
  add_library(pf::nccl ALIAS pf_nccl)
  target_include_directories(pf_nccl SYSTEM INTERFACE ${NCCL_INCLUDE_DIR})
  target_link_libraries(pf_nccl INTERFACE ${NCCL_LIBRARY})
endif()

# --- Arrow and Parquet, from the pyarrow wheel ----------------------------------------------------
find_path(ARROW_INCLUDE_DIR arrow/api.h HINTS ${PF_SITE}/pyarrow/include REQUIRED)
find_library(ARROW_LIBRARY arrow HINTS ${PF_SITE}/pyarrow REQUIRED)
find_library(PARQUET_LIBRARY parquet HINTS ${PF_SITE}/pyarrow REQUIRED)
add_library(pf_arrow INTERFACE)
add_library(pf::arrow ALIAS pf_arrow)
target_include_directories(pf_arrow SYSTEM INTERFACE ${ARROW_INCLUDE_DIR})
target_link_libraries(pf_arrow INTERFACE ${PARQUET_LIBRARY} ${ARROW_LIBRARY})

# --- From the distribution ----------------------------------------------------------------------
find_package(MPI REQUIRED COMPONENTS C)
add_library(pf_mpi INTERFACE)
add_library(pf::mpi ALIAS pf_mpi)
target_link_libraries(pf_mpi INTERFACE MPI::MPI_C)
# Only the C interface: mpi.h would otherwise pull in C++ bindings that need another library.
target_compile_definitions(pf_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)

find_package(HDF5 REQUIRED COMPONENTS C)
add_library(pf_hdf5 INTERFACE)
add_library(pf::hdf5 ALIAS pf_hdf5)
target_include_directories(pf_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(pf_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

# HMAC-SHA-256 for the heartbeats of the watchdog.
find_package(OpenSSL 3 REQUIRED COMPONENTS Crypto)
add_library(pf_crypto INTERFACE)
add_library(pf::crypto ALIAS pf_crypto)
target_link_libraries(pf_crypto INTERFACE OpenSSL::Crypto)

find_package(yaml-cpp REQUIRED)
add_library(pf_yaml INTERFACE)
add_library(pf::yaml ALIAS pf_yaml)
target_link_libraries(pf_yaml INTERFACE yaml-cpp)

find_package(Boost REQUIRED COMPONENTS program_options)
add_library(pf_options INTERFACE)
add_library(pf::options ALIAS pf_options)
target_link_libraries(pf_options INTERFACE Boost::program_options)
add_library(pf::boost ALIAS Boost::headers)  # Boost.CRC

find_package(nlohmann_json REQUIRED)
add_library(pf::json ALIAS nlohmann_json::nlohmann_json)

find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
add_library(pf_xxhash INTERFACE)
add_library(pf::xxhash ALIAS pf_xxhash)
target_include_directories(pf_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_link_libraries(pf_xxhash INTERFACE ${XXHASH_LIBRARY})

# Headers alone: the index of item vectors.
find_path(HNSWLIB_INCLUDE_DIR hnswlib/hnswlib.h)
if(NOT HNSWLIB_INCLUDE_DIR)
  message(FATAL_ERROR
    "hnswlib was not found. Run ./launch/setup.sh, or install it (Debian: libhnswlib-dev), or name the "
    "folder that holds hnswlib/hnswlib.h with -DHNSWLIB_INCLUDE_DIR.")
endif()
add_library(pf_hnsw INTERFACE)
add_library(pf::hnsw ALIAS pf_hnsw)
target_include_directories(pf_hnsw SYSTEM INTERFACE ${HNSWLIB_INCLUDE_DIR})

# Batches of ever different lengths leave glibc's heap in pieces: with it a training holds several
# times what it uses. Optional; sanitizers bring an allocator of their own.
find_library(JEMALLOC_LIBRARY jemalloc)
add_library(pf_malloc INTERFACE)
add_library(pf::malloc ALIAS pf_malloc)
if(JEMALLOC_LIBRARY AND NOT PF_SANITIZE)
  target_link_options(pf_malloc INTERFACE
    "SHELL:-Wl,--push-state,--no-as-needed ${JEMALLOC_LIBRARY} -Wl,--pop-state")
else()
  message(STATUS "Without jemalloc: a training takes more memory")
endif()
