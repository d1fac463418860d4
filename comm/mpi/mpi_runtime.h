// MPI for the lifetime of a program: initialise and check the thread level, finalise, abort.
#pragma once

namespace pinnerformer {

// Owns MPI_Init and MPI_Finalize. Make one in main(), before any MPI communicator, destroy it last.
class MpiRuntime {
 public:
  // Throws CommError when MPI cannot start or its thread level is too low.
  MpiRuntime();
  // Finalises, except during an exception: then MPI_Finalize would wait for ranks that wait for
  // this one, and abort_if_running() ends the job instead.
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int local_rank() const { return local_rank_; }  // among the ranks of this host
  // Ends the whole job with this exit code; returns where MPI is not running. For main(), after an
  // exception: the other ranks would wait for one that only exits.
  static void abort_if_running(int exit_code);

 private:
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
};

}  // namespace pinnerformer
