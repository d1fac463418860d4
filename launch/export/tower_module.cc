#include "launch/export/tower_module.h"

#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>

#include "dataloader/base/durable_file.h"
#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "launch/export/tower_source.h"
#include "trainer/model/encoder_kinds.h"

namespace pinnerformer {
namespace {

using torch::jit::Module;
using Weights = std::map<std::string, torch::Tensor>;

constexpr const char* kModelVersion = "model_version";
constexpr const char* kContentVersion = "content_version";

// "block0.qkv.weight" -> {"block0", "qkv.weight"}; the first part is "" where there is no dot.
std::pair<std::string, std::string> split_name(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos) return {"", name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

// Makes the modules of one tower: the tree of their names is that of the weights' names.
class TowerBuilder {
 public:
  TowerBuilder(const TowerSpec& spec, std::string name) : spec_(spec), name_(std::move(name)) {}

  Module build(const std::string& source, const Weights& weights) {
    Module tower = make_module("", weights);
    tower.register_attribute(kModelVersion, c10::StringType::get(), spec_.version.model);
    tower.register_attribute(kContentVersion, c10::StringType::get(), spec_.version.content);
    if (spec_.prior.defined()) tower.register_buffer("prior", spec_.prior.unsqueeze(0));
    tower.define(source);
    return tower;
  }

 private:
  // `path` is "" or "_block0_qkv": classes of a compilation unit have names of their own.
  Module make_module(const std::string& path, const Weights& weights) {
    Module module("__torch__.pinnerformer." + name_ + path, unit_);
    module.register_attribute("training", c10::BoolType::get(), false);
    std::map<std::string, Weights> children;
    for (const auto& [name, weight] : weights) {
      const auto [child, rest] = split_name(name);
      if (child.empty()) {
        module.register_parameter(rest, weight, /*is_buffer=*/false);
      } else {
        children[child][rest] = weight;
      }
    }
    for (const auto& [child, rest] : children)
      module.register_module(child, make_child(path, child, rest));
    return module;
  }

  Module make_child(const std::string& path, const std::string& name, const Weights& weights) {
    Module module = make_module(path + "_" + name, weights);
    if (const auto period = spec_.periods.find(name); period != spec_.periods.end())
      module.register_buffer("period_us", period->second);
    module.define(source_of(name, weights));
    return module;
  }

  [[nodiscard]] std::string source_of(const std::string& name, const Weights& weights) const {
    if (name.starts_with("block")) return encoder_kind(spec_.options.block).script(spec_.options);
    if (weights.contains("phase")) return time_encoding_source();
    if (name.ends_with("norm")) return layer_norm_source();
    return weights.contains("bias") ? linear_source() : embedding_source();
  }

  const TowerSpec& spec_;
  std::string name_;
  std::shared_ptr<torch::jit::CompilationUnit> unit_ =
      std::make_shared<torch::jit::CompilationUnit>();
};

bool is_of_items(const std::string& weight) { return weight.starts_with("item_"); }

// The loss alone reads these. The towers get the sums of an item's code rows with its other row.
bool is_of_loss(const std::string& weight) {
  return weight == "log_inverse_temperature" || weight == "prior_weights";
}

bool user_tower_reads_items(const TowerSpec& spec) {
  return spec.item_tower == ItemTower::kTied || spec.options.user_head == UserHead::kResidual;
}

Weights chosen(const TowerSpec& spec, bool items, bool others) {
  Weights weights;
  for (const auto& [name, weight] : spec.weights)
    if (!is_of_loss(name) && name != "item_code.weight" && (is_of_items(name) ? items : others))
      weights[name] = weight;
  return weights;
}

}  // namespace

Module user_tower(const TowerSpec& spec) {
  return TowerBuilder(spec, "user_tower")
      .build(user_tower_source(spec), chosen(spec, user_tower_reads_items(spec), true));
}

Module item_tower(const TowerSpec& spec) {
  TowerSpec items = spec;
  items.prior = torch::Tensor();
  return TowerBuilder(items, "item_tower")
      .build(item_tower_source(spec), chosen(spec, true, false));
}

void save_tower(const Module& tower, const std::string& path) {
  const EmbeddingVersion version = version_of(tower);
  std::ostringstream bytes;
  tower.save(bytes, {{kModelVersion, version.model}, {kContentVersion, version.content}});
  write_durable(path, bytes.str());
}

Module load_tower(const std::string& path) {
  const auto refuse = [&path](const char* reason) {
    throw DataError(path + " is no tower of an export, or damaged: " + reason +
                    ". Write it again with `pinnerformer export`");
  };
  File::open(path);  // a clear error where there is no such file
  try {
    Module tower = torch::jit::load(path, torch::kCPU);
    static_cast<void>(version_of(tower));
    return tower;
  } catch (const c10::Error& error) {
    refuse(error.what_without_backtrace());
  } catch (const std::exception& error) {  // LibTorch's parser and its attributes have their own
    refuse(error.what());
  }
  return {};
}

EmbeddingVersion version_of(const Module& tower) {
  return {tower.attr(kModelVersion).toStringRef(), tower.attr(kContentVersion).toStringRef()};
}

}  // namespace pinnerformer
