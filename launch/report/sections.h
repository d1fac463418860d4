// The sections of the page, in its order. Each has an id and a title; where its data is missing it
// says which command makes them.
#pragma once
#include <string>
#include <vector>

#include "launch/report/markup.h"
#include "launch/report/page.h"

namespace pinnerformer {

struct Section {
  std::string id;
  std::string title;
  std::string lead;  // how to read it
  Markup content;
};

[[nodiscard]] Section overview_section(const ReportInputs& inputs);
[[nodiscard]] Section curves_section(const ReportInputs& inputs);
[[nodiscard]] Section time_section(const ReportInputs& inputs);
[[nodiscard]] Section plan_section(const ReportInputs& inputs);
[[nodiscard]] Section evaluation_section(const ReportInputs& inputs);
[[nodiscard]] Section frequency_section(const ReportInputs& inputs);
[[nodiscard]] Section coverage_section(const ReportInputs& inputs);
[[nodiscard]] Section segments_section(const ReportInputs& inputs);
[[nodiscard]] Section examples_section(const ReportInputs& inputs);
[[nodiscard]] Section configuration_section(const ReportInputs& inputs);
[[nodiscard]] Section machine_section(const ReportInputs& inputs);
[[nodiscard]] Section problems_section(const ReportInputs& inputs);

}  // namespace pinnerformer
