// Each form of the model has its own text, in which numbers stand as literals: what a form does not
// have is not there. TorchScript compiled in C++ has no names for element types, hence the numbers
// of LibTorch: 4 is int64, 6 float32, 7 float64.
#include "launch/export/tower_source.h"

#include <cmath>
#include <utility>
#include <vector>

#include "trainer/model/script_text.h"

namespace pinnerformer {
namespace {

constexpr double kLeastNorm = 1e-6;             // as trainer/normalise.cc
constexpr int64_t kProfileEvents = 20;          // as trainer/model/model.cc
constexpr double kFourWeeks = 28 * 86400;       // as trainer/model/time_encoding.cc
constexpr int64_t kLatestTime = 4'102'444'799;  // the last second before 2100, as `import` has it

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return parts.size() == 1 ? text : "torch.cat([" + text + "], -1)";
}

// Vectors to norm 1, where the similarity is cosine.
std::string scaled(const TowerSpec& spec, const std::string& vectors) {
  return spec.options.similarity == Similarity::kCosine ? "self.unit(" + vectors + ")"
                                                        : "(" + vectors + ").to(6)";
}

std::string unit_source() {
  return fill_script(R"(
def unit(self, vectors: Tensor) -> Tensor:
    rows = vectors.to(6)
    return rows / torch.norm(rows, 2, [-1], True).clamp_min($LEAST)
)",
                     {{"$LEAST", script_number(kLeastNorm)}});
}

std::string content_input(const TowerSpec& spec) {
  return "self.unit(content) * " +
         script_number(std::sqrt(static_cast<double>(spec.content_width)));
}

std::string columns_of_rows(int64_t first, int64_t count) {
  return "id_rows.to(6).narrow(-1, " + script_number(first) + ", " + script_number(count) + ")";
}

std::string row_input(const TowerSpec& spec) {
  return spec.code_width > 0 ? columns_of_rows(0, spec.row_width()) : "id_rows.to(6)";
}

std::string with_codes(const TowerSpec& spec, const std::string& embedding) {
  return spec.code_width > 0
             ? "(" + embedding + " + " + columns_of_rows(spec.row_width(), spec.code_width) + ")"
             : embedding;
}

std::string tied_embedding(const TowerSpec& spec) {
  return with_codes(spec, spec.content_width > 0
                              ? "(" + row_input(spec) + " + self.item_linear.forward(" +
                                    content_input(spec) + "))"
                              : row_input(spec));
}

// embed_items(): [..., C] and [..., E] -> [..., D].
std::string item_source(const TowerSpec& spec) {
  const std::string head = "\ndef embed_items(self, content: Tensor, id_rows: Tensor) -> Tensor:\n";
  if (spec.item_tower == ItemTower::kTied)
    return head + "    return " + scaled(spec, tied_embedding(spec)) + "\n";
  std::vector<std::string> parts;
  if (spec.content_width > 0) parts.push_back(content_input(spec));
  if (spec.row_width() > 0) parts.push_back(row_input(spec));
  const std::string deep = "self.item_output.forward(torch.gelu(self.item_expand.forward(inputs)))";
  const std::string linear = spec.item_tower == ItemTower::kResidual
                                 ? "self.item_linear.forward(inputs) + "
                                 : std::string();
  return head + "    inputs = " + joined(parts) + "\n    return " +
         scaled(spec, with_codes(spec, linear + deep)) + "\n";
}

// check_items(): what describes the items has the widths of the model.
std::string item_check_source(const TowerSpec& spec) {
  std::string text =
      "\ndef check_items(self, content: Tensor, id_rows: Tensor, dims: int) -> None:\n"
      "    assert content.dim() == dims, 'content: wrong number of dimensions'\n"
      "    assert id_rows.dim() == dims, 'id_rows: wrong number of dimensions'\n";
  const auto width = [&text](const std::string& name, int64_t wanted) {
    if (wanted > 0)
      text += "    assert " + name + ".size(-1) == " + script_number(wanted) + ", '" + name +
              ": the last dimension must be " + script_number(wanted) + "'\n";
  };
  width("content", spec.content_width);
  width("id_rows", spec.id_width);
  return text;
}

std::string finite_source() {
  return R"(
def finite(self, vectors: Tensor) -> Tensor:
    assert bool(torch.isfinite(vectors).all()), 'content, id_rows or duration: holds NaN or infinity'
    return vectors
)";
}

// One transfer from the device for all checks.
std::string event_check_source(const TowerSpec& spec) {
  return fill_script(R"(
def check_events(self, action: Tensor, surface: Tensor, time: Tensor, gap: Tensor, length: Tensor) -> None:
    bad = torch.stack([
        (length < 1).any(), (length > time.size(1)).any(),
        (action < 0).any(), (action >= $ACTIONS).any(),
        (surface < 0).any(), (surface >= $SURFACES).any(),
        (time < 0).any(), (time > $LATEST).any(), (gap < 0).any()])
    if bool(bad.any()):
        assert not bool(bad[0]) and not bool(bad[1]), 'length: expected 1 to the number of events S'
        assert not bool(bad[2]) and not bool(bad[3]), 'action: expected 0 to $LAST_ACTION; preprocessing.json has the names'
        assert not bool(bad[4]) and not bool(bad[5]), 'surface: expected 0 to $LAST_SURFACE; preprocessing.json has the names'
        assert not bool(bad[6]) and not bool(bad[7]), 'time: expected seconds since 1970, up to the year 2100'
        assert False, 'time: events must be ordered from the oldest to the newest'
)",
                     {{"$ACTIONS", script_number(spec.actions)},
                      {"$SURFACES", script_number(spec.surfaces)},
                      {"$LAST_ACTION", script_number(spec.actions - 1)},
                      {"$LAST_SURFACE", script_number(spec.surfaces - 1)},
                      {"$LATEST", script_number(kLatestTime)}});
}

// The inputs of the encoder side by side, in the order of PinnerFormerImpl::input_features().
std::vector<std::string> feature_parts(const TowerSpec& spec) {
  const FeatureOptions& features = spec.options.features;
  std::vector<std::string> parts;
  if (spec.item_tower != ItemTower::kTied) {
    if (features.content && spec.content_width > 0) parts.push_back(content_input(spec));
    if (spec.row_width() > 0) parts.push_back(row_input(spec));
  }
  if (features.action) parts.emplace_back("self.action.forward(action)");
  if (features.surface) parts.emplace_back("self.surface.forward(surface)");
  if (features.duration) parts.emplace_back("torch.log1p(duration).unsqueeze(-1)");
  if (!features.time) return parts;
  parts.emplace_back("self.absolute_time.forward(time)");
  if (!is_recurrent(spec.options.block)) parts.emplace_back("self.age.forward(age)");
  parts.emplace_back("self.gap.forward(gap)");
  return parts;
}

// The methods of the user tower that make vectors. All take user_tower_inputs(), and then what
// follows.
enum class UserMethod {
  kForward,   // nothing
  kForTopic,  // the topic, int64 [B]
  kGoOn,      // the state [B, W] and the time int64 [B] of the newest event that it has read, or -1
};

// Whether the model has go_on(): the residual head reads the last events themselves.
bool keeps_state(const ModelOptions& options) {
  return is_recurrent(options.block) && options.user_head != UserHead::kResidual;
}

std::string block_name(int64_t layer) { return "self.block" + script_number(layer); }

std::string plain_block_lines(const TowerSpec& spec) {
  const int64_t last = spec.options.layers - 1;
  std::string text;
  for (int64_t layer = 0; layer < last; ++layer)
    text += "    states = " + block_name(layer) + ".forward(states, time)\n";
  return text + "    newest = " + block_name(last) + ".newest(states, time, valid, last)\n";
}

// `moved` is the state after the new events.
std::string recurrent_block_lines(const TowerSpec& spec) {
  const int64_t width = 2 * spec.options.hidden;
  std::string text, memories;
  for (int64_t layer = 0; layer < spec.options.layers; ++layer) {
    const std::string memory = "memory" + script_number(layer);
    text += "    states, " + memory + " = " + block_name(layer) + ".go_on(states, last, " +
            "state.narrow(1, " + script_number(layer * width) + ", " + script_number(width) +
            "))\n";
    memories += (layer > 0 ? ", " : "") + memory;
  }
  return text + "    moved = torch.cat([" + memories +
         "], -1)\n"
         "    newest = states[torch.arange(last.size(0), device=last.device), last]\n";
}

// states: [B, S, H]
std::string state_lines(const TowerSpec& spec, UserMethod method) {
  const std::vector<std::string> parts = feature_parts(spec);
  const bool tied = spec.item_tower == ItemTower::kTied;
  std::string states;
  if (!parts.empty()) states = "self.input.forward(" + joined(parts) + ")";
  if (tied) states += (states.empty() ? "" : " + ") + tied_embedding(spec);
  std::string text = "    states = " + states + "\n";
  if (spec.options.features.position)
    text +=
        "    states = states + "
        "self.position.forward((last.unsqueeze(1) - places).clamp_min(0))\n";
  return text +
         (method == UserMethod::kGoOn ? recurrent_block_lines(spec) : plain_block_lines(spec));
}

// vector: [B, D]
std::string head_lines(const TowerSpec& spec, UserMethod method) {
  std::string text = "    state = self.head_norm.forward(newest)\n";
  if (method == UserMethod::kForTopic)
    text +=
        "    known = (topic >= 0).unsqueeze(1)\n"
        "    state = state + self.condition.forward(topic.clamp_min(0)) * known\n";
  if (spec.options.user_head == UserHead::kNorm)
    return text + "    vector = " + scaled(spec, "state") + "\n";
  text += "    output = self.head_output.forward(torch.gelu(self.head_expand.forward(state)))\n";
  if (spec.options.user_vectors > 1)
    text += "    output = output.reshape([-1, " + script_number(spec.options.user_vectors) + ", " +
            script_number(spec.options.output) + "])\n";
  if (spec.options.user_head == UserHead::kMlp)
    return text + "    vector = " + scaled(spec, "output") + "\n";
  return text + "    recent = torch.logical_and(valid, places > (last - " +
         script_number(kProfileEvents) +
         ").unsqueeze(1)).unsqueeze(-1)\n"
         "    mean = (self.embed_items(content, id_rows) * recent).sum([1]) / recent.sum([1])\n"
         "    vector = " +
         scaled(spec, scaled(spec, "mean") + " + output") + "\n";
}

// topic: [B]
constexpr const char* kTopicCheck = R"(
    topic = topic.reshape([-1]).to(4)
    assert topic.numel() == time.size(0), 'topic: expected one number for each user'
    assert bool(((topic >= -1) & (topic < $TOPICS)).all()), 'topic: expected -1 to $LAST_TOPIC; preprocessing.json has the names')";

// state: [B, W], state_time: [B]
constexpr const char* kStateCheck = R"(
    assert state.dim() == 2 and state.size(0) == time.size(0) and state.size(1) == $WIDTH, 'state: expected [B, $WIDTH]'
    assert state_time.numel() == time.size(0), 'state_time: expected one number for each user'
    state = state.to(6)
    state_time = state_time.reshape([-1, 1]).to(4))";

constexpr const char* kUserMethod = R"(
def $NAME(self, content: Tensor, id_rows: Tensor, action: Tensor, surface: Tensor, time: Tensor, duration: Tensor, length: Tensor$MORE) -> $RESULT:
    self.check_items(content, id_rows, 3)
    assert time.dim() == 2 and time.size(1) <= $MOST, 'time: expected [B, S] with at most $MOST events'
    assert length.numel() == time.size(0), 'length: expected one number for each user'$CHECKS
    last = length.reshape([-1]).to(4) - 1
    places = torch.arange(time.size(1), device=time.device)
    valid = places <= last.unsqueeze(1)
    padding = torch.logical_not(valid)
    content = content.masked_fill(padding.unsqueeze(-1), 0.0)
    id_rows = id_rows.masked_fill(padding.unsqueeze(-1), 0.0)
    action = action.masked_fill(padding, 0)
    surface = surface.masked_fill(padding, 0)
    time = time.to(4).masked_fill(padding, 0)
    duration = torch.nan_to_num(duration.to(6).masked_fill(padding, 0.0), 0.0).clamp_min(0.0)
    before = $BEFORE
    gap = torch.diff(time, 1, 1, before) * valid
    self.check_events(action, surface, time, gap, last + 1)
    age = (time.gather(1, last.unsqueeze(1)) - time) * valid
)";

// vector: [B, D] or [B, K, D]
std::string prior_lines(const TowerSpec& spec) {
  if (!spec.prior.defined()) return "";
  const bool several = spec.options.user_vectors > 1;
  return std::string("    prior = self.prior.expand([vector.size(0), ") +
         (several ? "vector.size(1), " : "") +
         "-1])\n    vector = torch.cat([vector, prior], -1)\n";
}

// The lines before the inputs are read that only this method has.
std::string check_lines(const TowerSpec& spec, UserMethod method) {
  if (method == UserMethod::kForTopic)
    return fill_script(kTopicCheck, {{"$TOPICS", script_number(spec.topics)},
                                     {"$LAST_TOPIC", script_number(spec.topics - 1)}});
  if (method == UserMethod::kForward) return "";
  const int64_t width = 2 * spec.options.hidden * spec.options.layers;
  return fill_script(kStateCheck, {{"$WIDTH", script_number(width)}});
}

std::string user_method(const TowerSpec& spec, UserMethod method) {
  const bool goes_on = method == UserMethod::kGoOn, topic = method == UserMethod::kForTopic;
  const std::string first = "time.narrow(1, 0, 1)";
  const std::string vector = "self.finite(vector)";
  return fill_script(kUserMethod,
                     {{"$NAME", goes_on ? "go_on"
                                : topic ? "for_topic"
                                        : "forward"},
                      {"$MORE", goes_on ? ", state: Tensor, state_time: Tensor"
                                : topic ? ", topic: Tensor"
                                        : ""},
                      {"$RESULT", goes_on ? "Tuple[Tensor, Tensor, Tensor]" : "Tensor"},
                      {"$CHECKS", check_lines(spec, method)},
                      {"$BEFORE",
                       goes_on ? "torch.where(state_time >= 0, state_time, " + first + ")" : first},
                      {"$MOST", script_number(spec.options.max_length)}}) +
         state_lines(spec, method) + head_lines(spec, method) + prior_lines(spec) + "    return " +
         (goes_on ? vector + ", moved, time.gather(1, last.unsqueeze(1)).squeeze(1)" : vector) +
         "\n";
}

}  // namespace

std::string user_tower_source(const TowerSpec& spec) {
  std::string text =
      unit_source() + item_check_source(spec) + event_check_source(spec) + finite_source();
  if (spec.options.user_head == UserHead::kResidual) text += item_source(spec);
  text += user_method(spec, UserMethod::kForward);
  if (spec.topics > 0) text += user_method(spec, UserMethod::kForTopic);
  if (keeps_state(spec.options)) text += user_method(spec, UserMethod::kGoOn);
  return text;
}

std::string item_tower_source(const TowerSpec& spec) {
  return unit_source() + item_check_source(spec) + finite_source() + item_source(spec) + R"(
def forward(self, content: Tensor, id_rows: Tensor) -> Tensor:
    self.check_items(content, id_rows, 2)
    return self.finite(self.embed_items(content, id_rows))
)";
}

std::string time_encoding_source() {
  return fill_script(
      R"(
def forward(self, seconds: Tensor) -> Tensor:
    within = torch.remainder((seconds * 1000000).unsqueeze(-1), self.period_us)
    angle = (within.to(7) / self.period_us).to(6) * $TURN
    logarithm = torch.log1p(seconds.to(6)).unsqueeze(-1) / $SCALE
    cosine, sine = torch.chunk(self.phase, 2)
    return torch.cat([torch.cos(angle + cosine), torch.sin(angle + sine), logarithm], -1)
)",
      {{"$TURN", script_number(2 * std::acos(-1.0))},
       {"$SCALE", script_number(std::log1p(kFourWeeks))}});
}

std::string layer_norm_source() {
  return R"(
def forward(self, rows: Tensor) -> Tensor:
    return torch.layer_norm(rows, [self.weight.size(0)], self.weight, self.bias, 1e-05)
)";
}

std::string linear_source() {
  return R"(
def forward(self, rows: Tensor) -> Tensor:
    return torch.linear(rows, self.weight, self.bias)
)";
}

std::string embedding_source() {
  return R"(
def forward(self, index: Tensor) -> Tensor:
    return torch.embedding(self.weight, index)
)";
}

}  // namespace pinnerformer
