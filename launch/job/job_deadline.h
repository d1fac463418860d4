// When this training must have ended: its own time limit and that of its Slurm job.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace pinnerformer {

// Seconds in the form of `squeue -o %L`: [days-][hours:]minutes:seconds. Nothing for UNLIMITED,
// NOT_SET, INVALID and any other text.
[[nodiscard]] std::optional<double> parse_slurm_time(std::string_view text);

// The earlier of `stop_after` from now ("" for never) and the end of the Slurm job this process
// belongs to, read from SLURM_JOB_END_TIME or, where that is not set, from squeue.
[[nodiscard]] std::optional<std::chrono::steady_clock::time_point> job_deadline(
    const std::string& stop_after);

}  // namespace pinnerformer
