// Which values of a configuration exclude each other, and what training needs on top.
#include "configs/config_checks.h"

#include "configs/errors.h"
#include "dataloader/base/time_text.h"

namespace pinnerformer {

namespace {

void check_validation(const RunConfig& config, const ShowKey& show) {
  const SplitOptions& split = config.split;
  if (split.validation_percent == 0) return;
  if (split.protocol == SplitProtocol::kWindows &&
      split.users_percent + split.validation_percent > 100) {
    throw ConfigError(show("split.users_percent") + " and " + show("split.validation_percent") +
                      ": expected at most 100 together, as no user is in both; lower one of them");
  }
  if (split.protocol == SplitProtocol::kLeaveOneOut && split.leave_out < 2) {
    throw ConfigError(show("split.validation_percent") + " and " + show("split.leave_out") +
                      ": training would see the second-last event, which is the one for "
                      "validation; set split.leave_out: 2, or split.validation_percent: 0");
  }
}

void check_block(const ModelOptions& model, const ShowKey& show) {
  if (is_recurrent(model.block)) {
    if (model.features.position)
      throw ConfigError(show("model.block") + " and " + show("model.features.position") +
                        ": positions are counted from the newest event, and a recurrent block "
                        "never reads an event again; set model.features.position=false");
    return;  // it has no heads
  }
  if (model.hidden % model.heads != 0)
    throw ConfigError(show("model.heads") + " does not divide " + show("model.hidden") +
                      ": every head must get the same number of channels");
}

void check_user_vectors(const ModelOptions& model, const ShowKey& show) {
  if (model.user_vectors == 1 || model.user_head == UserHead::kMlp) return;
  const bool norm = model.user_head == UserHead::kNorm;
  throw ConfigError(show("model.user_vectors") + " and " + show("model.user_head") +
                    (norm ? ": this head has no layer that could make several vectors of a state"
                          : ": this head begins with one vector, the mean of the last items, so "
                            "that all would be equal and stay so") +
                    "; set model.user_head=mlp, or model.user_vectors=1");
}

void check_window(const ObjectiveOptions& objective, const ShowKey& show) {
  const std::string days = show("objective.window_days"), events = show("objective.window_events");
  if (objective.name == ObjectiveKind::kNextItem) {
    if (objective.window_events > 0)
      throw ConfigError(show("objective.name") + " and " + events +
                        ": next_item has no window; set objective.window_events=0");
    return;
  }
  if (objective.window_days > 0 && objective.window_events > 0)
    throw ConfigError(days + " and " + events +
                      ": a label window goes by days or by events; set one of them to 0");
  if (objective.window_days == 0 && objective.window_events == 0)
    throw ConfigError(days + " and " + events + ": there would be no label; set one of them");
}

void check_model(const RunConfig& config, const ShowKey& show) {
  const ModelOptions& model = config.model;
  const ItemOptions& item = config.item;
  const auto require_equal = [&](int64_t a, int64_t b, const char* key, const char* other,
                                 const std::string& why) {
    if (a != b) throw ConfigError(show(key) + " and " + show(other) + " must be equal: " + why);
  };
  if (!model.prior_days.empty() && config.split.protocol == SplitProtocol::kLeaveOneOut)
    throw ConfigError(show("model.prior_days") + " and " + show("split.protocol") +
                      ": the prior counts the days before a window, and leave_one_out has none; "
                      "set split.protocol=windows, or remove model.prior_days");
  check_user_vectors(model, show);
  if (model.user_head == UserHead::kNorm)
    require_equal(model.output, model.hidden, "model.output", "model.hidden",
                  "model.user_head=norm does not change the width");
  if (item.table.memory == RowMemory::kDevice && item.table.placement != ItemPlacement::kRowSharded)
    throw ConfigError(show("item.table.memory") + " and " + show("item.table.placement") +
                      ": only sharded rows are held on a device; set "
                      "item.table.placement=row_sharded, or item.table.memory=auto");
  if (item.tower != ItemTower::kTied) return;
  if (item.table.placement == ItemPlacement::kNone)
    throw ConfigError(show("item.tower") + " and " + show("item.table.placement") +
                      ": the tied tower is made of learned rows; set "
                      "item.table.placement=replicated, or item.tower=residual");
  require_equal(item.table.dim, model.hidden, "item.table.dim", "model.hidden",
                "item.tower=tied feeds the rows to the encoder");
  require_equal(item.table.dim, model.output, "item.table.dim", "model.output",
                "item.tower=tied compares the rows with user vectors");
}

}  // namespace

void check_contradictions(const RunConfig& config, const ShowKey& show) {
  check_model(config, show);
  check_block(config.model, show);
  check_window(config.objective, show);
  const FeatureOptions& on = config.model.features;
  const bool learned_rows = config.item.table.placement != ItemPlacement::kNone;
  if (!(learned_rows || on.content || on.time || on.surface || on.action || on.duration)) {
    throw ConfigError(
        "model.features switches every feature of an action off: the model would read nothing; "
        "set at least one of content, time, surface, action and duration to true, or give items "
        "learned rows (item.table.placement)");
  }
  if (config.negatives.in_batch == 0 && config.negatives.random == 0) {
    throw ConfigError(show("negatives.in_batch") + " and " + show("negatives.random") +
                      ": the softmax needs at least one negative; raise one of them");
  }
  if (config.negatives.random == 0 && config.train.global_batch_users == 1 &&
      config.negatives.mask == NegativeMask::kUserPositives) {
    throw ConfigError(show("train.global_batch_users") + " and " + show("negatives.random") +
                      ": the only items of a batch would be the user's own positives, which are no "
                      "negatives; raise one of them");
  }
  if (const std::string& end = config.split.end; !end.empty()) {
    if (const std::string problem = time_problem(end); !problem.empty())
      throw ConfigError("split.end = " + problem);
    if (config.split.protocol == SplitProtocol::kLeaveOneOut)
      throw ConfigError(show("split.end") + ": leave_one_out has no windows that it could end; " +
                        "remove the key, or set split.protocol: windows");
  }
  check_validation(config, show);
  if (config.evaluate.frequency.empty()) {
    throw ConfigError(
        show("evaluate.frequency") +
        ": nothing would be evaluated; name at least one of once, daily and realtime");
  }
}

void check_trainable(const RunConfig& config) {
  const auto require = [](bool holds, const std::string& message) {
    if (!holds) throw ConfigError(message);
  };
  require(!config.data.path.empty(),
          "data.path is empty: name the dataset directory to train on, such as "
          "data.path=build/quickstart/dataset");
  require(!config.run.directory.empty(),
          "run.directory is empty: name the directory the run writes to, such as "
          "run.directory=build/run");
  require(!config.positives.actions.empty(),
          "positives.actions is empty: name the actions that count as positives, such as "
          "'positives.actions=repin,closeup>10' (`pinnerformer data inspect` lists a dataset's)");
  require(config.validate.every_steps == 0 || config.split.validation_percent > 0,
          "validate.every_steps > 0 and split.validation_percent = 0: there is no user to validate "
          "on; set the second one above 0, or the first one to 0");
  require(config.split.users_percent + config.split.validation_percent < 100 ||
              config.split.protocol == SplitProtocol::kLeaveOneOut,
          "split.users_percent + split.validation_percent = 100 holds out every user: none is left "
          "to train on");
}

}  // namespace pinnerformer
