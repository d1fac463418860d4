"""Deliberate faults on a device that is not the CPU: streams, memory, and who may touch what.

They belong to the list of faults.py. The double of a device in tests/support/device has to notice them.
"""
from fault import Fault

TWO_RANKS = "All/DeviceDoubleTrains.LikeTheCpuOnTwoRanks/dense_all_action_none_3"

FAULTS_OF_DEVICE = [
    # Streams: a collective starts before its input is written, or its result is read too early
    Fault("collective_does_not_wait", "comm/nccl/nccl_communicator.cc",
          "    ready.block(stream_);", "    if (!FAULT) ready.block(stream_);", TWO_RANKS),
    Fault("nobody_waits_for_a_collective", "comm/nccl/nccl_communicator.cc",
          "{ done_.block(Streams", "{ if (!FAULT) done_.block(Streams", TWO_RANKS),
    Fault("hook_on_another_stream", "comm/gradients/gradient_reducer.cc",
          "(const autograd::Variable&) override { reducer_",
          """(const autograd::Variable& weight) override {
    if (FAULT && !weight.is_cpu()) {
      const c10::impl::VirtualGuardImpl streams(weight.device().type());
      streams.exchangeStream(streams.getStreamFromGlobalPool(weight.device()));
    }
    reducer_""", TWO_RANKS),
    # Memory: given back to the allocator while another stream reads it
    Fault("memory_of_a_collective_not_kept", "comm/nccl/nccl_communicator.cc",
          "      tensor.record_stream(stream_);", "      if (!FAULT) tensor.record_stream(stream_);",
          TWO_RANKS),
    # The host and the device
    Fault("index_on_the_host", "trainer/loop/step_inputs.cc",
          "  inputs.softmax.positive_item = inputs.item;",
          "  if (FAULT) inputs.positions = inputs.positions.cpu();\n  inputs.softmax.positive_item = inputs.item;",
          "All/DeviceDoubleTrains.LikeTheCpu/next_action_none_1"),
    Fault("host_reads_the_device", "comm/gradients/gradient_reducer.cc",
          "  if (!reducing_) return;",
          """  if (FAULT) {
    volatile const float read = *flat_[0].const_data_ptr<float>();
    static_cast<void>(read);
  }
  if (!reducing_) return;""", TWO_RANKS),
    Fault("each_tensor_copied_alone", "comm/packed_transfer.cc",
          "  tensors_.push_back(&tensor);",
          "  if (FAULT) tensor = tensor.to(device_);\n  else tensors_.push_back(&tensor);",
          "DeviceDouble.SeveralTensorsTravelInOneCopy"),
    Fault("packed_without_alignment", "comm/packed_transfer.cc",
          "  return (bytes + kAlignment - 1)", "  return FAULT ? bytes : (bytes + kAlignment - 1)",
          "DeviceDouble.SeveralTensorsTravelInOneCopy"),
    Fault("vectors_of_the_batch_not_gathered", "trainer/loop/training_data.cc",
          "  if (host_vectors.defined())", "  if (!FAULT && host_vectors.defined())",
          "DeviceDoubleCounts.VectorsOfTheHost*"),
    Fault("vectors_of_the_pairs_for_the_pool", "trainer/loop/step_inputs.cc",
          "brought.narrow(0, pairs, pool)", "brought.narrow(0, FAULT ? 0 : pairs, pool)",
          "DeviceDoubleCounts.VectorsOfTheHost*"),
    # Item rows
    Fault("item_rows_stay_on_the_host", "trainer/items/item_table.cc",
          "options.on_device() ? ranks.device", "!FAULT && options.on_device() ? ranks.device",
          "DeviceDouble.ItemRowsOfADevice*"),
    Fault("row_update_ignores_the_norm", "trainer/items/item_table.cc",
          "  if (norm.defined())", "  if (!FAULT && norm.defined())", "TrainerNonfinite*"),
    Fault("row_gradients_count_as_finite", "trainer/items/row_gradients.cc",
          "kLargest, 0.0, std", "kLargest, 0.0, FAULT ? 0.0 : std", "TrainerNonfinite*"),
    Fault("row_gradients_of_one_rank_alone", "trainer/optimizer/row_update.cc",
          "j < first[i + 1]; ++j", "j < (FAULT ? 0 : first[i + 1]); ++j", "*ItemTableOf.*"),
]
