// Examples, configuration, machine, and what could not be read.
#include <algorithm>
#include <string>

#include "configs/config_keys.h"
#include "launch/cli/version.h"
#include "launch/report/sections.h"
#include "launch/report/table.h"
#include "launch/slurm/slurm_script.h"

namespace pinnerformer {
namespace {

Markup item_markup(const ReportedItem& item) {
  if (item.title.empty()) return text("item " + item.item);
  return text(item.title) + element("small", text("item " + item.item));
}

Markup events_list(const std::vector<ReportedItem>& events) {
  if (events.empty()) return element("p", {{"class", "note"}}, text("No events are shown."));
  Markup rows;
  for (const ReportedItem& event : events)
    rows += element("li", element("span", {{"class", "action"}}, text(event.action)) +
                              element("div", item_markup(event)));
  return element("ul", rows);
}

Markup recommendations_list(const std::vector<ReportedItem>& items) {
  if (items.empty()) return element("p", {{"class", "note"}}, text("Nothing is left to show."));
  Markup rows;
  for (const ReportedItem& item : items)
    rows += element("li", element("span", {{"class", "score"}}, number(item.similarity, "%.3f")) +
                              element("div", item_markup(item)));
  return element("ol", rows);
}

Markup user_markup(const ReportedUser& user) {
  return element("article", {{"class", "user"}},
                 element("h3", text("User " + user.user)) +
                     element("p", {{"class", "note"}},
                             count(user.events) + text(" events; " + user.run + ", step ") +
                                 count(user.step)) +
                     element("div", {{"class", "columns"}},
                             element("div", element("h4", text("Did last, newest at the end")) +
                                                events_list(user.last)) +
                                 element("div", element("h4", text("Would be shown, best first")) +
                                                    recommendations_list(user.recommended))));
}

std::string value_of(RunConfig config, const ConfigKey& key) {
  return value_text(key.member(config));
}

// The value of every run, "–" where its configuration is missing.
std::vector<std::string> values_of(const ReportInputs& inputs, const ConfigKey& key) {
  std::vector<std::string> values;
  for (const RunRecord& run : inputs.runs)
    values.push_back(run.config ? value_of(*run.config, key) : "–");
  return values;
}

// Between runs; of one run to the defaults.
Markup differences(const ReportInputs& inputs) {
  const bool alone = inputs.runs.size() == 1;
  std::vector<HeadedColumn> columns = {{"key"}};
  if (alone) columns.push_back({"default"});
  for (const RunRecord& run : inputs.runs) columns.push_back({run.label});
  Table table(columns);
  bool any = false;
  for (const ConfigKey& key : config_keys()) {
    std::vector<std::string> values = values_of(inputs, key);
    if (alone) values.insert(values.begin(), value_of(RunConfig(), key));
    if (std::ranges::count(values, values.front()) == std::ssize(values)) continue;
    any = true;
    std::vector<Markup> cells = {element("code", {{"title", key.help}}, text(key.name))};
    for (const std::string& value : values) cells.push_back(element("code", text(value)));
    table.add_row(cells);
  }
  return any ? table.markup() : element("p", text("There is no difference."));
}

Markup whole_configurations(const ReportInputs& inputs) {
  Markup all;
  for (const RunRecord& run : inputs.runs) {
    if (!run.config) continue;
    Markup lines;
    for (const ConfigKey& key : config_keys())
      lines += text(key.name + "=" + value_of(*run.config, key)) + Markup::trusted("\n");
    all += element("details", element("summary", text("Every key of " + run.label)) +
                                  element("pre", element("code", lines)));
  }
  return all;
}

}  // namespace

Section examples_section(const ReportInputs& inputs) {
  Markup content;
  for (const ReportedUser& user : inputs.users) content += user_markup(user);
  if (content.empty())
    content = missing("No examples were given. These commands make them and show them here:",
                      "pinnerformer recommend --run " + shell_quoted(inputs.runs.front().path) +
                          " --evaluation-users 5 --json recommend.json\n"
                          "pinnerformer report ... --recommendations recommend.json");
  return {"examples", "Users and what they would be shown",
          "The number before an item is its score: the nearer to 1 a cosine, the better the item "
          "fits. With a popularity prior it may be larger.",
          content};
}

Section configuration_section(const ReportInputs& inputs) {
  const bool alone = inputs.runs.size() == 1;
  return {"configuration", "Configuration",
          alone ? "The keys that differ from their defaults."
                : "The keys in which the runs differ. Point at a key to see what it means.",
          differences(inputs) + whole_configurations(inputs)};
}

Section machine_section(const ReportInputs& inputs) {
  Markup content;
  for (const RunRecord& run : inputs.runs) {
    content += element("h3", text(run.label));
    if (run.machine.empty()) {
      content += missing(
          "The run directory does not say which machine trained it. A training "
          "writes machine.json when it starts or goes on:",
          "pinnerformer train --config FILE run.directory=" + shell_quoted(run.path));
      continue;
    }
    Table table({{"what"}, {"value"}});
    for (const auto& [name, value] : run.machine) table.add_row({text(name), text(value)});
    content += table.markup();
  }
  return {"machine", "Machine and version",
          "Of the newest start of each run. This page was written by pinnerformer " +
              std::string(program_version()) + ".",
          content};
}

Section problems_section(const ReportInputs& inputs) {
  Markup rows;
  for (const RunRecord& run : inputs.runs) {
    for (const std::string& problem : run.problems) rows += element("li", text(problem));
    if (run.metrics.skipped_users > 0)
      rows += element("li", text(run.label + " passed over ") + count(run.metrics.skipped_users) +
                                text(" users of damaged blocks (data.on_bad_block=skip)"));
    if (!run.config)
      rows += element("li", text(run.path + "/config.yaml is missing or cannot be read: the run's "
                                            "configuration is not shown"));
  }
  if (rows.empty()) rows = element("li", text("Everything was read."));
  return {"problems", "What was left out", "", element("ul", {{"class", "notes"}}, rows)};
}

}  // namespace pinnerformer
