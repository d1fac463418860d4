#include "launch/report/page.h"

#include "launch/report/markup.h"
#include "launch/report/page_style.h"
#include "launch/report/sections.h"

namespace pinnerformer {
namespace {

std::string title_of(const ReportInputs& inputs) {
  std::string title = inputs.runs.front().label;
  if (inputs.runs.size() > 1) title += " and " + std::to_string(inputs.runs.size() - 1) + " more";
  return title;
}

Markup section_markup(const Section& section) {
  Markup content = element("h2", text(section.title));
  if (!section.lead.empty()) content += element("p", {{"class", "lead"}}, text(section.lead));
  return element("section", {{"id", section.id}}, content + section.content);
}

Markup head_of(const std::string& title) {
  return Markup::trusted(
             "<meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
             "<meta name=\"color-scheme\" content=\"light dark\">"
             // Nothing may be loaded, whatever the page holds.
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
             "style-src 'unsafe-inline'; img-src data:\">"
             "<link rel=\"icon\" href=\"data:,\">") +
         element("title", text(title + " · PinnerFormer report")) +
         Markup::trusted("<style>" + std::string(kPageStyle) + "</style>");
}

}  // namespace

std::string report_page(const ReportInputs& inputs) {
  const std::vector<Section> sections = {
      overview_section(inputs),      curves_section(inputs),     time_section(inputs),
      plan_section(inputs),          evaluation_section(inputs), frequency_section(inputs),
      coverage_section(inputs),      segments_section(inputs),   examples_section(inputs),
      configuration_section(inputs), machine_section(inputs),    problems_section(inputs)};
  Markup links, body;
  for (const Section& section : sections) {
    links += element("a", {{"href", "#" + section.id}}, text(section.title));
    body += section_markup(section);
  }
  const std::string title = title_of(inputs);
  const Markup page = element(
      "body", element("header", element("p", {{"class", "kind"}}, text("PinnerFormer report")) +
                                    element("h1", text(title)) + element("nav", links)) +
                  element("main", body));
  return "<!DOCTYPE html>\n" +
         element("html", {{"lang", "en"}}, element("head", head_of(title)) + page).html() + "\n";
}

}  // namespace pinnerformer
