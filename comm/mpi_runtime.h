// MPI for the lifetime of a program: initialise with a checked thread level, finalise, abort.
#pragma once
#include <string>

namespace pinnerformer {

// Owns MPI_Init and MPI_Finalize. Make one in main(), before any MPI communicator, destroy it last.
class MpiRuntime {
 public:
  MpiRuntime();   // throws CommError when MPI cannot start or gives too low a thread level
  ~MpiRuntime();  // finalises; never throws
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int local_rank() const { return local_rank_; }  // among the ranks of this host
  [[nodiscard]] static std::string host();
  // Ends the whole job with this exit code. For the one catch in main(): a rank that leaves quietly
  // would hang the rest.
  [[noreturn]] static void abort(int exit_code);

 private:
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
};

}  // namespace pinnerformer
