#include "comm/mpi/mpi_runtime.h"

#include <mpi.h>

#include <cstdlib>
#include <exception>

#include "comm/errors.h"
#include "comm/host_name.h"
#include "comm/mpi/mpi_check.h"

namespace pinnerformer {

namespace detail {
void throw_mpi_error(int status, const char* call, const char* file, int line) {
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw CommError(std::string(call) + " failed on " + host_name() + ": " + text + " (" + file +
                  ":" + std::to_string(line) + ")");
}
}  // namespace detail

MpiRuntime::MpiRuntime() {
  int level = MPI_THREAD_SINGLE;
  // FUNNELED: one thread of a rank makes all MPI calls; loader and autograd threads make none.
  PF_MPI_CHECK(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level));
  if (level < MPI_THREAD_FUNNELED)
    throw CommError(
        "this MPI library does not support MPI_THREAD_FUNNELED: build it with thread support");
  PF_MPI_CHECK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  PF_MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  PF_MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &size_));
  MPI_Comm node = MPI_COMM_NULL;
  PF_MPI_CHECK(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
  PF_MPI_CHECK(MPI_Comm_rank(node, &local_rank_));
  PF_MPI_CHECK(MPI_Comm_free(&node));
}

MpiRuntime::~MpiRuntime() {
  if (std::uncaught_exceptions() == 0) MPI_Finalize();
}

void MpiRuntime::abort_if_running(int exit_code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (!initialized || finalized) return;
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);  // MPI_Abort may return before the launcher ends this process
}

}  // namespace pinnerformer
