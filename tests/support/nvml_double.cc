// Stands for NVIDIA's management library (libnvidia-ml.so.1) in tests of launch/doctor.
// PF_NVML_DOUBLE holds what it answers: "ADDRESS CORRECTED UNCORRECTED PENDING FAILED [LINKS]", the
// last one the number of active NVLinks. Without it there is no driver.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kSuccess = 0, kNotSupported = 3, kNotFound = 6, kNoDriver = 9;

using Count = unsigned long long;  // NOLINT(google-runtime-int): NVML's type

struct Answers {
  std::array<char, 64> address{};
  std::array<Count, 2> errors{};
  unsigned pending = 0, failed = 0, links = 0;
};
Answers answers;

}  // namespace

extern "C" {

int nvmlInit_v2() {
  const char* text = std::getenv("PF_NVML_DOUBLE");
  if (text == nullptr) return kNoDriver;
  const int read =
      std::sscanf(text, "%63s %llu %llu %u %u %u", answers.address.data(), &answers.errors[0],
                  &answers.errors[1], &answers.pending, &answers.failed, &answers.links);
  return read >= 5 ? kSuccess : kNoDriver;
}

int nvmlShutdown() { return kSuccess; }

int nvmlDeviceGetHandleByPciBusId_v2(const char* address, void** device) {
  *device = &answers;
  return std::strcmp(address, answers.address.data()) == 0 ? kSuccess : kNotFound;
}

int nvmlDeviceGetTotalEccErrors(void* device, int kind, int period, Count* count) {
  if (device != &answers || kind < 0 || kind > 1 || period != 0) return kNotSupported;
  *count = answers.errors.at(static_cast<size_t>(kind));
  return kSuccess;
}

// A GPU with links says of each whether it is active, one without does not support the question.
int nvmlDeviceGetNvLinkState(void* device, unsigned link, int* active) {
  if (device != &answers || answers.links == 0) return kNotSupported;
  *active = link < answers.links ? 1 : 0;
  return kSuccess;
}

int nvmlDeviceGetRemappedRows(void* device, unsigned* corrected, unsigned* uncorrected,
                              unsigned* pending, unsigned* failed) {
  if (device != &answers) return kNotSupported;
  *corrected = *uncorrected = 0;
  *pending = answers.pending;
  *failed = answers.failed;
  return kSuccess;
}

}  // extern "C"
