#include "tests/support/device/device_double.h"

#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_cpu_dispatch.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Backtrace.h>
#include <torch/library.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>

#include "tests/support/device/device_memory.h"
#include "trainer/model/keyed_dropout_kernels.h"
#include "trainer/objective/softmax_rows.h"
#include "trainer/optimizer/row_update.h"

namespace pinnerformer::device_double {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;

thread_local c10::DeviceIndex current_device = 0;
thread_local std::array<c10::StreamId, kDevices> current_stream{};
// An operator runs by copying to the CPU: these copies are not the program's.
thread_local bool inside_operator = false;

std::atomic<int64_t> copies_to_device{0};

struct HostWaits {
  std::mutex mutex;
  std::vector<std::string> found;
};

HostWaits& host_waits() {
  static auto* waits = new HostWaits;
  return *waits;
}

void note_host_wait(const char* what) {
  constexpr size_t kSkippedFrames = 2, kMostFrames = 40;
  HostWaits& waits = host_waits();
  const std::lock_guard lock(waits.mutex);
  waits.found.push_back(
      std::string(what) + "\n" +
      c10::get_backtrace(kSkippedFrames, kMostFrames, /*skip_python_frames=*/true));
}

// --- memory

struct Allocator final : c10::Allocator {
  static void release(void* data) {
    if (DeviceStreams::instance().free(data)) DeviceMemory::instance().release(data);
  }
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(kType, current_device);
    if (bytes == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, device};
    void* data = DeviceMemory::instance().allocate(bytes);
    return {data, data, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    const DeviceMemory& memory = DeviceMemory::instance();
    std::memcpy(memory.for_kernels(to), memory.for_kernels(from), bytes);
  }
};

Allocator allocator;

void access(const torch::Tensor& tensor, bool write, const std::string& operation) {
  if (!tensor.defined() || tensor.device().type() != kType || tensor.numel() == 0) return;
  const c10::Device device = tensor.device();
  const auto stream =
      c10::Stream(c10::Stream::UNSAFE, device, current_stream[static_cast<size_t>(device.index())]);
  DeviceStreams::instance().access(tensor.storage().data(), write, stream_number(stream),
                                   operation);
}

// --- devices, streams and events

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = kType;
  Guard() = default;
  explicit Guard(c10::DeviceType) {}

  static c10::Stream stream_of(c10::Device device, c10::StreamId id) {
    return c10::Stream(c10::Stream::UNSAFE, device, id);
  }
  static size_t slot(c10::Device device) { return static_cast<size_t>(device.index()); }

  c10::DeviceType type() const override { return kType; }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  c10::Device getDevice() const override { return {kType, current_device}; }
  c10::Device exchangeDevice(c10::Device device) const override {
    return {kType, std::exchange(current_device, device.index())};
  }
  void setDevice(c10::Device device) const override { current_device = device.index(); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    current_device = device.index();
  }
  c10::Stream getStream(c10::Device device) const override {
    return stream_of(device, current_stream[slot(device)]);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream_of(device, 0); }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<c10::StreamId> next{0};
    return stream_of(device, 1 + next++ % (kStreamsPerDevice - 1));
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return getNewStream(device, 0);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return stream_of(stream.device(),
                     std::exchange(current_stream[slot(stream.device())], stream.id()));
  }
  void* getStreamNativeHandle(const c10::Stream stream) const override {
    return reinterpret_cast<void*>(static_cast<intptr_t>(stream_number(stream)));
  }
  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Mark;
    DeviceStreams::instance().record(*static_cast<Mark*>(*event), stream_number(stream));
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr)
      DeviceStreams::instance().block(*static_cast<Mark*>(event), stream_number(stream));
  }
  bool queryEvent(void* event) const override {
    return event == nullptr || DeviceStreams::instance().done(*static_cast<Mark*>(event));
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Mark*>(event);
  }
  double elapsedTime(void* first, void* second, const c10::DeviceIndex) const override {
    const auto time = static_cast<Mark*>(second)->time - static_cast<Mark*>(first)->time;
    return std::chrono::duration<double, std::milli>(time).count();
  }
  void synchronizeEvent(void* event) const override {
    note_host_wait("the host synchronises an event");
    DeviceStreams::instance().finish(*static_cast<Mark*>(event));
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    note_host_wait("the host synchronises a stream");
    DeviceStreams::instance().finish(stream_number(stream));
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::Allocator* getPinnedMemoryAllocator() const override { return at::getCPUAllocator(); }
};

// --- operators

torch::Tensor empty(c10::IntArrayRef sizes, std::optional<c10::ScalarType> type,
                    std::optional<c10::Layout>, std::optional<c10::Device> device,
                    std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  const c10::DeviceGuard guard(*device);
  return at::detail::empty_generic(sizes, &allocator,
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(type), format);
}

torch::Tensor empty_strided(c10::IntArrayRef sizes, c10::IntArrayRef strides,
                            std::optional<c10::ScalarType> type, std::optional<c10::Layout>,
                            std::optional<c10::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(*device);
  return at::detail::empty_strided_generic(sizes, strides, &allocator,
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(type));
}

torch::Tensor copy_from(const torch::Tensor& from, const torch::Tensor& to, bool) {
  if (!inside_operator) {
    access(from, /*write=*/false, "copy");
    access(to, /*write=*/true, "copy");
    if (to.is_cpu()) note_host_wait("the host copies a tensor from the device");
    if (from.is_cpu()) ++copies_to_device;
  }
  on_host(to).copy_(on_host(from));
  return to;
}

torch::Tensor copy_from_and_resize(const torch::Tensor& from, const torch::Tensor& to) {
  at::native::resize_(to, from.sizes(), std::nullopt);
  on_host(to).copy_(on_host(from));
  return to;
}

at::Scalar local_scalar(const torch::Tensor& tensor) {
  access(tensor, /*write=*/false, "item()");
  note_host_wait("the host reads a scalar of the device");
  return on_host(tensor).item();
}

torch::Tensor as_strided(const torch::Tensor& tensor, c10::SymIntArrayRef sizes,
                         c10::SymIntArrayRef strides, std::optional<c10::SymInt> offset) {
  return at::cpu::as_strided_symint(tensor, sizes, strides, std::move(offset));
}

torch::Tensor view(const torch::Tensor& tensor, c10::SymIntArrayRef sizes) {
  return at::native::view(tensor, C10_AS_INTARRAYREF_SLOW(sizes));
}

torch::Tensor reshape_alias(const torch::Tensor& tensor, c10::SymIntArrayRef sizes,
                            c10::SymIntArrayRef strides) {
  return at::native::_reshape_alias(tensor, C10_AS_INTARRAYREF_SLOW(sizes),
                                    C10_AS_INTARRAYREF_SLOW(strides));
}

const torch::Tensor& resize(const torch::Tensor& tensor, c10::SymIntArrayRef sizes,
                            std::optional<c10::MemoryFormat> format) {
  return at::native::resize_(tensor, C10_AS_INTARRAYREF_SLOW(sizes), format);
}

void record_stream(torch::Tensor& tensor, c10::Stream stream) {
  DeviceStreams::instance().keep_for(tensor.storage().data(), stream_number(stream));
}

// CUDA copies host indices to the device in these alone.
bool takes_host_indices(const std::string& name) {
  return name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_";
}

class Arguments {
 public:
  explicit Arguments(const std::string& operation) : operation_(operation) {}

  void check(const torch::Tensor& tensor, const c10::Argument& argument) {
    if (!tensor.defined()) return;
    const auto* alias = argument.alias_info();
    access(tensor, alias != nullptr && alias->isWrite(), operation_);
    const bool host_scalar = tensor.is_cpu() && tensor.dim() == 0;
    if (host_scalar || (tensor.is_cpu() && takes_host_indices(operation_))) return;
    if (!device_) device_ = tensor.device();
    TORCH_CHECK(tensor.device() == *device_, operation_, ": its arguments are on ", *device_,
                " and on ", tensor.device(), " (", argument.name(), ")");
  }

  void check(const c10::IValue& value, const c10::Argument& argument) {
    if (value.isTensor()) {
      check(value.toTensor(), argument);
    } else if (value.isTensorList()) {
      for (const torch::Tensor& tensor : value.toTensorVector()) check(tensor, argument);
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<torch::Tensor>& tensor : value.toOptionalTensorList())
        if (tensor) check(*tensor, argument);
    }
  }

 private:
  const std::string& operation_;
  std::optional<c10::Device> device_;
};

// All other operators: first what CUDA would check, then the CPU's kernel on a copy.
void run_on_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& schema = operation.schema();
  const auto values = torch::jit::last(stack, schema.arguments().size());
  Arguments arguments(schema.name());
  for (size_t i = 0; i < values.size(); ++i) arguments.check(values[i], schema.arguments()[i]);
  struct Inside {
    bool before = std::exchange(inside_operator, true);
    ~Inside() { inside_operator = before; }
  } const inside;
  at::native::cpu_fallback(operation, stack);
}

void dropout_kernel(const DropoutTensors& tensors, const torch::Tensor& keys,
                    const std::optional<torch::Tensor>& first_element, int64_t row_elements,
                    const DropoutSite& site) {
  access(tensors.output, /*write=*/true, "keyed dropout");
  for (const torch::Tensor& read : {tensors.input, tensors.residual, keys})
    access(read, /*write=*/false, "keyed dropout");
  const bool adds = tensors.residual.defined();
  keyed_dropout_cpu({on_host(tensors.output), on_host(tensors.input),
                     adds ? on_host(tensors.residual) : torch::Tensor()},
                    on_host(keys),
                    first_element ? std::optional(on_host(*first_element)) : std::nullopt,
                    row_elements, site);
}

void softmax_kernel(const SoftmaxRows& rows) {
  const auto read = [](const torch::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    access(tensor, /*write=*/false, "softmax");
    return on_host(tensor);
  };
  const auto written = [](const torch::Tensor& tensor) {
    access(tensor, /*write=*/true, "softmax");
    return on_host(tensor);
  };
  softmax_rows_cpu({.products = read(rows.products),
                    .scale = read(rows.scale),
                    .log_q = read(rows.log_q),
                    .prior = read(rows.prior),
                    .prior_row = read(rows.prior_row),
                    .mask = read(rows.mask),
                    .mask_row = read(rows.mask_row),
                    .positive_item = read(rows.positive_item),
                    .pool_item = read(rows.pool_item),
                    .positive_logit = read(rows.positive_logit),
                    .weight = read(rows.weight),
                    .normaliser = written(rows.normaliser),
                    .pull = written(rows.pull)});
}

void row_kernel(const RowStorage& table, const RowGradients& gradients, const RowRule& rule) {
  const auto used = [](const torch::Tensor& tensor, bool write) {
    if (!tensor.defined()) return tensor;
    access(tensor, write, "update of item rows");
    return on_host(tensor);
  };
  update_rows_cpu(
      {used(table.records, true), used(table.first_moments, true),
       used(table.second_moments, true)},
      {used(gradients.values, true), used(gradients.rows, false), used(gradients.first, false),
       used(gradients.order, false), used(gradients.norm, false)},
      rule);
}

const bool registered = [] {
  c10::register_privateuse1_backend("double");
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  register_dropout_kernel(kType, &dropout_kernel);
  register_softmax_kernel(kType, &softmax_kernel);
  register_row_kernel(kType, &row_kernel);
  return true;
}();

}  // namespace

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)
REGISTER_ALLOCATOR(c10::kPrivateUse1, &allocator)

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("as_strided", as_strided);
  library.impl("view", view);
  library.impl("_reshape_alias", reshape_alias);
  library.impl("resize_", resize);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", local_scalar);
  library.impl("record_stream", record_stream);
}

// CUDA's policy: lists of LibTorch's own.
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFallthrough());
}

#define PF_LOWER_PRECISION(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define PF_FLOAT32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1,
                   m){AT_FORALL_LOWER_PRECISION_FP(PF_LOWER_PRECISION) AT_FORALL_FP32(PF_FLOAT32)}
#undef PF_LOWER_PRECISION
#undef PF_FLOAT32

torch::Device device(int index) {
  return {kType, static_cast<c10::DeviceIndex>(index)};
}

int stream_number(const c10::Stream& stream) {
  return stream.device_index() * kStreamsPerDevice + static_cast<int>(stream.id());
}

torch::Tensor on_host(const torch::Tensor& tensor) {
  if (tensor.device().type() != kType) return tensor;
  void* data =
      tensor.numel() == 0 ? nullptr : DeviceMemory::instance().for_kernels(tensor.data_ptr());
  return torch::from_blob(data, tensor.sizes(), tensor.strides(),
                          tensor.options().device(torch::kCPU));
}

void reset() { static_cast<void>(report()); }

Report report() {
  HostWaits& waits = host_waits();
  const std::lock_guard lock(waits.mutex);
  return {DeviceStreams::instance().take_findings(), std::exchange(waits.found, {}),
          copies_to_device.exchange(0)};
}

}  // namespace pinnerformer::device_double
