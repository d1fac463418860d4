// A library for LD_PRELOAD that injects a fault into one rank of a job. It wraps MPI's functions by
// MPI's profiling interface, so that the program needs no code for tests.
//
// PF_FAULT="RANK KIND PLACE": at its PLACE-th call of a non-blocking collective or send (for
// stop-save, of fsync; for slow, of pread) rank RANK
//   kill, segv, exit   ends by SIGKILL, SIGSEGV or _exit(0)
//   throw              throws an exception that no code handles
//   error              gets an error from MPI
//   stop               freezes (SIGSTOP) instead of joining the collective
//   stop-after         freezes some milliseconds after it, while it computes
//   stop-save          freezes while it writes a checkpoint
//   skip               leaves the collective out
//   size               passes half as many elements to the next sum (MPI does not notice a gather
//   or
//                      broadcast that is too short)
//   slow               waits five seconds for a file
// PF_FAULT_LOG names a file that receives the time of the fault, in seconds since the epoch.
#include <dlfcn.h>
#include <mpi.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

struct Fault {
  int rank = -1;
  std::string kind;
  int place = 0;

  Fault() {
    const char* text = std::getenv("PF_FAULT");
    const char* here = std::getenv("OMPI_COMM_WORLD_RANK");
    if (text == nullptr || here == nullptr) return;
    std::istringstream(text) >> rank >> kind >> place;
    if (std::to_string(rank) != here) kind.clear();
  }
};

void write_time() {
  const char* path = std::getenv("PF_FAULT_LOG");
  std::FILE* file = path == nullptr ? nullptr : std::fopen(path, "w");
  if (file == nullptr) return;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::fprintf(file, "%.3f\n", std::chrono::duration<double>(now).count());
  std::fclose(file);
}

void sleep_seconds(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

void stop_soon() {
  std::thread([] {
    sleep_seconds(0.003);
    ::kill(::getpid(), SIGSTOP);
  }).detach();
}

enum class Then { kJoin, kSkip, kHalve, kFail };
// Called before each collective of this rank.
Then at_collective(bool can_halve) {
  static const Fault fault;
  static int calls = 0;
  static bool happened = false;
  if (fault.kind.empty() || fault.kind == "stop-save" || fault.kind == "slow") return Then::kJoin;
  if (++calls < fault.place || happened) return Then::kJoin;
  if (fault.kind == "size" && !can_halve) return Then::kJoin;
  happened = true;
  write_time();
  if (fault.kind == "kill") ::raise(SIGKILL);
  if (fault.kind == "segv") ::raise(SIGSEGV);
  if (fault.kind == "exit") ::_exit(0);
  if (fault.kind == "throw") throw std::runtime_error("an injected failure");
  if (fault.kind == "stop") ::kill(::getpid(), SIGSTOP);
  if (fault.kind == "stop-after") stop_soon();
  if (fault.kind == "error") return Then::kFail;
  if (fault.kind == "skip") return Then::kSkip;
  if (fault.kind == "size") return Then::kHalve;
  return Then::kJoin;
}

template <class Join>
int collective(MPI_Request* request, Join join, int summed = 0) {
  switch (at_collective(/*can_halve=*/summed > 1)) {
    case Then::kFail:
      return MPI_ERR_OTHER;
    case Then::kSkip:
      *request = MPI_REQUEST_NULL;
      return MPI_SUCCESS;
    case Then::kHalve:
      return join(summed / 2);
    case Then::kJoin:
      break;
  }
  return join(summed);
}

}  // namespace

extern "C" {

int MPI_Iallreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op,
                   MPI_Comm comm, MPI_Request* request) {
  const auto join = [&](int n) {
    return PMPI_Iallreduce(send, receive, n, type, op, comm, request);
  };
  return collective(request, join, count);
}

int MPI_Isend(const void* send, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request* request) {
  const auto join = [&](int n) { return PMPI_Isend(send, n, type, to, tag, comm, request); };
  return collective(request, join, count);
}

int MPI_Ibcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm comm,
               MPI_Request* request) {
  return collective(request,
                    [&](int) { return PMPI_Ibcast(buffer, count, type, root, comm, request); });
}

int MPI_Iallgatherv(const void* send, int count, MPI_Datatype send_type, void* receive,
                    const int* counts, const int* offsets, MPI_Datatype type, MPI_Comm comm,
                    MPI_Request* request) {
  return collective(request, [&](int) {
    return PMPI_Iallgatherv(send, count, send_type, receive, counts, offsets, type, comm, request);
  });
}

int MPI_Ireduce_scatter(const void* send, void* receive, const int* counts, MPI_Datatype type,
                        MPI_Op op, MPI_Comm comm, MPI_Request* request) {
  return collective(request, [&](int) {
    return PMPI_Ireduce_scatter(send, receive, counts, type, op, comm, request);
  });
}

int MPI_Ibarrier(MPI_Comm comm, MPI_Request* request) {
  return collective(request, [&](int) { return PMPI_Ibarrier(comm, request); });
}

int fsync(int descriptor) {
  static const Fault fault;
  static std::atomic<int> calls = 0;
  static const auto real = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "fsync"));
  if (fault.kind == "stop-save" && ++calls == fault.place) {
    write_time();
    ::kill(::getpid(), SIGSTOP);
  }
  return real(descriptor);
}

ssize_t pread(int descriptor, void* to, size_t count, off_t offset) {
  static const Fault fault;
  static std::atomic<int> calls = 0;
  static const auto real =
      reinterpret_cast<ssize_t (*)(int, void*, size_t, off_t)>(::dlsym(RTLD_NEXT, "pread"));
  if (fault.kind == "slow" && ++calls == fault.place) {
    write_time();
    sleep_seconds(5);
  }
  return real(descriptor, to, count, offset);
}
}
