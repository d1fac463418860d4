// PF_MPI_CHECK(call): throws CommError with the call, the place and MPI's own text. Works only on
// communicators whose error handler is MPI_ERRORS_RETURN; ours set it.
#pragma once
#include <mpi.h>

namespace pinnerformer::detail {
[[noreturn]] void throw_mpi_error(int status, const char* call, const char* file, int line);
}

#define PF_MPI_CHECK(call)                                                           \
  do {                                                                               \
    if (const int pf_status = (call); pf_status != MPI_SUCCESS)                      \
      ::pinnerformer::detail::throw_mpi_error(pf_status, #call, __FILE__, __LINE__); \
  } while (false)
