// MPI for the lifetime of a program: initialise with a checked thread level, finalise, abort.
#pragma once
#include <string>

namespace pinnerformer {

// Owns MPI_Init and MPI_Finalize. Make one in main(), before any MPI communicator, destroy it last.
class MpiRuntime {
 public:
  MpiRuntime();  // throws CommError when MPI cannot start or gives too low a thread level
  // Finalises, unless an exception is on its way: MPI_Finalize would wait for ranks that wait for
  // us. Then abort_if_running() ends the job.
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int local_rank() const { return local_rank_; }  // among the ranks of this host
  [[nodiscard]] static std::string host();
  // Ends the whole job with this exit code; returns where MPI is not running. For the one catch in
  // main(): a rank that leaves quietly would hang the rest.
  static void abort_if_running(int exit_code);

 private:
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
};

}  // namespace pinnerformer
