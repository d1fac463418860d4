#include "comm/library_versions.h"

#include <mpi.h>
#ifdef PF_WITH_CUDA
#include <nccl.h>
#endif

namespace pinnerformer {
namespace {

LibraryVersion mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole = text;
  LibraryVersion version{
      .library = "MPI", .built_with = "", .found = whole.substr(0, whole.find(','))};
#ifdef OMPI_MAJOR_VERSION
  const std::string series =
      "Open MPI v" + std::to_string(OMPI_MAJOR_VERSION) + "." + std::to_string(OMPI_MINOR_VERSION);
  version.built_with = series + "." + std::to_string(OMPI_RELEASE_VERSION);
  version.fits = whole.starts_with(series + ".");
#else
  version.built_with = "MPI " + std::to_string(MPI_VERSION) + "." + std::to_string(MPI_SUBVERSION);
#endif
  return version;
}

#ifdef PF_WITH_CUDA
std::string dotted(int code) {
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." +
         std::to_string(code % 100);
}

// Within a major version NCCL only adds symbols.
LibraryVersion nccl_version() {
  int found = 0;
  const bool known = ncclGetVersion(&found) == ncclSuccess;
  return {.library = "NCCL",
          .built_with = dotted(NCCL_VERSION_CODE),
          .found = known ? dotted(found) : "no answer",
          .fits = known && found >= NCCL_VERSION_CODE && found / 10000 == NCCL_MAJOR};
}
#endif

}  // namespace

std::vector<LibraryVersion> communication_libraries() {
  std::vector<LibraryVersion> libraries{mpi_version()};
#ifdef PF_WITH_CUDA
  libraries.push_back(nccl_version());
#endif
  return libraries;
}

}  // namespace pinnerformer
