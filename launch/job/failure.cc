// Maps each exception to its exit code. No other file does.
#include "launch/job/failure.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <initializer_list>
#include <iostream>
#include <new>
#include <thread>
#ifdef PF_WITH_CUDA
#include <driver_types.h>
#endif

#include "comm/errors.h"
#include "configs/errors.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/printable.h"
#include "launch/cli/exit_code.h"
#include "launch/cli/launcher_rank.h"
#include "launch/job/gpu_memory.h"
#include "trainer/errors.h"

namespace pinnerformer {
namespace {

Failure bug(const std::string& text) {
  return {kBug, text +
                    "\nThis is a bug in pinnerformer: please report it with the command line and "
                    "this message."};
}

Failure failure_of_files(const std::filesystem::filesystem_error& error) {
  constexpr size_t kShown = 80;
  if (error.code() != std::errc::filename_too_long) return {kIoFailed, error.what()};
  const std::string path = error.path1().string();
  return {kIoFailed,
          "a path of " + std::to_string(path.size()) +
              " characters, or a name in it, is too long: " + printable(path.substr(0, kShown)) +
              (path.size() > kShown ? "...: " : ": ") +
              "paths have at most 4095 characters, names 255"};
}

Failure out_of_memory(const std::string& text) {
  return {kNoMemory,
          "out of memory: " + text +
              "\nIn a training: raise train.gradient_accumulation_steps, lower "
              "train.global_batch_users, model.max_length or the sizes of negatives, or use more "
              "ranks; `pinnerformer plan` says what takes how much. In an evaluation: lower "
              "evaluate.batch_users. In an import: lower --memory. Else use a machine with more "
              "memory."};
}

bool holds_one_of(const std::string& text, std::initializer_list<const char*> signs) {
  return std::ranges::any_of(
      signs, [&](const char* sign) { return text.find(sign) != std::string::npos; });
}

Failure lost_gpu(const std::string& text) {
  return {kCommFailed,
          "a GPU failed: " + text +
              "\nStarted again, the run goes on from its newest checkpoint. Where it happens again "
              "on the same host, take that host out of the job; its kernel log (`dmesg`) names the "
              "fault (Xid)"};
}

// Errors of the driver that the program has caused itself and would meet again.
bool is_own_fault([[maybe_unused]] int32_t code) {
#ifdef PF_WITH_CUDA
  switch (static_cast<cudaError>(code)) {
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorAssert:
      return true;
    default:
      return false;
  }
#endif
  return false;
}

bool is_out_of_memory([[maybe_unused]] int32_t code) {
#ifdef PF_WITH_CUDA
  return code == cudaErrorMemoryAllocation;
#endif
  return false;
}

// Allocations that fail inside oneDNN, a thread's start or the CPU allocator have no type of their
// own.
Failure bug_or_out_of_memory(const std::string& text) {
  return holds_one_of(text,
                      {"could not create a memory object", "could not create a primitive",
                       "out_of_memory", "can't allocate memory", "Cannot allocate memory",
                       "not enough memory", "Not enough memory", "Resource temporarily unavailable",
                       "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"})
             ? out_of_memory(text)
             : bug(text);
}

// ECC errors, a GPU that has fallen off the bus and the like (an Xid in the kernel log).
Failure failure_of_gpu(const c10::AcceleratorError& error) {
  const std::string text = error.what_without_backtrace();
  if (is_out_of_memory(error.get_error_code())) return out_of_memory(text);
  return is_own_fault(error.get_error_code()) ? bug(text) : lost_gpu(text);
}

// The libraries on top of CUDA report a fault of the GPU without a type of its own.
Failure failure_of_libtorch(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();  // what() has a page of backtrace
  if (holds_one_of(text, {"CUBLAS_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_INTERNAL_ERROR",
                          "CUDNN_STATUS_EXECUTION_FAILED"}))
    return lost_gpu(text);
  return bug_or_out_of_memory(text);
}

}  // namespace

Failure describe_failure(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const UsageError& error) {
    return {kUsage, error.what(), /*same_on_every_rank=*/true};
  } catch (const MissingConfigError& error) {
    return {kNoInput, error.what(), /*same_on_every_rank=*/true};
  } catch (const ConfigError& error) {
    return {kBadConfig, error.what(), /*same_on_every_rank=*/true};
  } catch (const DataError& error) {
    return {kBadData, error.what()};
  } catch (const CheckpointError& error) {
    return {kBadData, error.what()};
  } catch (const MissingInputError& error) {
    return {kNoInput, error.what()};
  } catch (const IoError& error) {
    return {kIoFailed, error.what()};
  } catch (const std::filesystem::filesystem_error& error) {
    return failure_of_files(error);
  } catch (const CommError& error) {
    return {kCommFailed, error.what()};
  } catch (const OutOfGpuMemory& error) {
    return out_of_memory(error.what());
  } catch (const c10::OutOfMemoryError& error) {
    return out_of_memory(error.what_without_backtrace());
  } catch (const std::bad_alloc& error) {
    return out_of_memory(error.what());
  } catch (const c10::AcceleratorError& error) {
    return failure_of_gpu(error);
  } catch (const c10::Error& error) {
    return failure_of_libtorch(error);
  } catch (const std::exception& error) {
    return bug_or_out_of_memory(error.what());
  } catch (...) {
    return bug("an exception of an unknown type");
  }
}

void report_failure(const std::string& program, const Failure& failure) {
  std::cout << std::flush;
  if (!speaks_for_all_ranks()) {
    // An error of the command line, the files or the data usually occurs on every rank. A launcher
    // ends all ranks as soon as one has failed: rank 0 reports first, the others wait and report
    // only if they are still running. A bug or a lack of memory may be of one rank; it is reported
    // at once, because the other ranks would take the wait for a lost rank.
    const bool of_one_rank = failure.exit_code == kBug || failure.exit_code == kNoMemory;
    if (!of_one_rank) std::this_thread::sleep_for(std::chrono::seconds(5));
    if (failure.same_on_every_rank) return;
  }
  const auto rank = launcher_rank();
  const bool name_rank = rank.has_value() && !failure.same_on_every_rank;
  std::cerr << program + ": " + (name_rank ? "[rank " + std::to_string(*rank) + "] " : "") +
                   printable_lines(failure.message) + "\n"
            << std::flush;
}

}  // namespace pinnerformer
