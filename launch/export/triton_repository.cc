#include "launch/export/triton_repository.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <ranges>

#include "dataloader/base/errors.h"
#include "dataloader/base/file.h"
#include "dataloader/base/published_file.h"
#include "dataloader/base/temporary.h"
#include "launch/export/tower_module.h"

namespace pinnerformer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUserModel = "user_tower";
constexpr const char* kItemModel = "item_tower";
constexpr const char* kConfigName = "config.pbtxt";
constexpr int64_t kMostConfigBytes = int64_t{1} << 20;
constexpr int64_t kMostUsersAtOnce = 256;  // of one batch of the server
constexpr int64_t kMostItemsAtOnce = 4096;
constexpr std::string_view kOneEvent("\1\0\0\0\0\0\0\0", 8);  // the warm-up's length as int64
constexpr int64_t kQueueMicroseconds = 500;  // that a request waits for others to join its batch

const char* triton_type(const TowerInput& input) {
  return input.integers ? "TYPE_INT64" : "TYPE_FP32";
}

// Sizes behind the batch, one number at least: Triton has no tensors without dimensions and none of
// width 0. `events` stands for S. The towers take a column of lengths, and any width of an input
// that they do not read.
std::string dims_of(const TowerInput& input, const std::string& events, const char* any_width) {
  std::string text;
  for (const std::string& size : input.shape)
    text += (text.empty() ? "" : ", ") + (size == "S" ? events : size == "0" ? any_width : size);
  return "[ " + (text.empty() ? "1" : text) + " ]";
}

// What makes two versions exchangeable for a client.
std::string signature(const std::vector<TowerInput>& inputs, const std::string& dimensions) {
  std::string text = "input [\n";
  for (const TowerInput& input : inputs)
    text += "  { name: \"" + input.name + "\" data_type: " + triton_type(input) +
            " dims: " + dims_of(input, "-1", "-1") + (&input == &inputs.back() ? " }\n" : " },\n");
  return text + "]\noutput [\n  { name: \"vector\" data_type: TYPE_FP32 dims: [ " + dimensions +
         " ] }\n]\n";
}

// The first requests of a server must not wait for what LibTorch does once.
// One event: the file is written once, and a later model may read fewer events than this one.
std::string warmup(const std::vector<TowerInput>& inputs) {
  std::string text =
      "model_warmup [\n  {\n    name: \"one event\"\n    batch_size: 1\n    count: 3\n";
  for (const TowerInput& input : inputs)
    text += "    inputs { key: \"" + input.name + "\" value { data_type: " + triton_type(input) +
            " dims: " + dims_of(input, "1", "1") +
            (input.name == "length" ? " input_data_file: \"length\"" : " zero_data: true") +
            " } }\n";
  return text + "  }\n]\n";
}

std::string config_text(const std::string& name, int64_t most, const std::string& signature,
                        const std::string& warmup) {
  return "# Written once by `pinnerformer export --triton`. Later versions of the model leave it "
         "as "
         "it is:\n# change what you like, but input and output.\nname: \"" +
         name + "\"\nbackend: \"pytorch\"\nplatform: \"pytorch_libtorch\"\nmax_batch_size: " +
         std::to_string(most) + "\n" + signature +
         "dynamic_batching { max_queue_delay_microseconds: " + std::to_string(kQueueMicroseconds) +
         " }\ninstance_group [ { count: 1 kind: KIND_AUTO } ]\n"
         "# Requests differ in length: code that LibTorch makes for one length would be made again "
         "for the next.\n"
         "parameters { key: \"DISABLE_OPTIMIZED_EXECUTION\" value { string_value: \"true\" } }\n"
         "parameters { key: \"INFERENCE_MODE\" value { string_value: \"true\" } }\n" +
         warmup;
}

std::string user_signature(const TowerSpec& spec) {
  const int64_t each = spec.options.user_vectors;
  return signature(user_tower_inputs(spec), (each > 1 ? std::to_string(each) + ", " : "") +
                                                std::to_string(spec.dimensions()));
}
std::string item_signature(const TowerSpec& spec) {
  return signature(item_tower_inputs(spec), std::to_string(spec.options.output));
}

// The number of a version directory. Triton skips names that begin with 0.
int64_t version_number(const std::string& name) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? std::max<int64_t>(number, 0)
                                                                  : 0;
}

int64_t newest_version(const std::string& model) {
  int64_t newest = 0;
  if (!fs::exists(model)) return 0;
  if (!fs::is_directory(model))
    throw DataError(model + " is a file; expected the directory of a model, or none");
  for (const auto& entry : fs::directory_iterator(model))
    newest = std::max(newest, version_number(entry.path().filename()));
  return newest;
}

void require_signature(const std::string& model, const std::string& signature) {
  const std::string path = model + "/" + kConfigName;
  if (!fs::exists(path)) {
    if (newest_version(model) > 0)
      throw DataError(model + " holds versions but no " + kConfigName +
                      ": expected a model that `pinnerformer export --triton` made; choose another "
                      "directory");
    return;
  }
  if (read_whole_file(path, kMostConfigBytes).find(signature) == std::string::npos)
    throw DataError(path + " declares other inputs or outputs than this model has. Expected:\n" +
                    signature +
                    "Clients of the older versions would fail: choose another directory");
}

// Removes what a call made, unless it is kept: half of a version is of no use, and a server would
// load it.
class MadePaths {
 public:
  // `directories`, outermost first: those that are missing now go again where they are empty.
  explicit MadePaths(const std::vector<std::string>& directories) {
    for (const std::string& path : directories)
      if (!fs::exists(path)) directories_.push_back(path);
  }
  MadePaths(const MadePaths&) = delete;
  MadePaths& operator=(const MadePaths&) = delete;
  ~MadePaths() {
    if (is_kept_) return;
    std::error_code ignored;
    for (const std::string& path : paths_) fs::remove_all(path, ignored);
    for (const std::string& path : directories_ | std::views::reverse) fs::remove(path, ignored);
  }
  void add(const std::string& path) { paths_.push_back(path); }
  void keep() { is_kept_ = true; }

 private:
  std::vector<std::string> directories_, paths_;
  bool is_kept_ = false;
};

// An edited file stays.
void publish_missing(const std::string& path, std::string_view text, MadePaths& made) {
  if (fs::exists(path)) return;
  publish_text(path, text);
  made.add(path);
}

// The temporary name begins with a letter: Triton reads a name that begins with digits as a
// version.
void publish_version(const std::string& model, int64_t number, const torch::jit::Module& tower,
                     MadePaths& made) {
  const std::string draft = model + "/new";
  remove_abandoned_directories(draft);
  const std::string temporary = temporary_name(draft);
  std::error_code error;
  fs::create_directories(temporary, error);
  if (error) throw IoError("cannot make directory " + temporary + ": " + error.message());
  try {
    const DirectoryClaim claim(temporary);
    save_tower(tower, temporary + "/model.pt");
    sync_directory_entries(temporary);
    const std::string version = model + "/" + std::to_string(number);
    rename_durably(temporary, version);
    made.add(version);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
}

}  // namespace

std::string triton_user_config(const TowerSpec& spec) {
  return config_text(kUserModel, kMostUsersAtOnce, user_signature(spec),
                     warmup(user_tower_inputs(spec)));
}

std::string triton_item_config(const TowerSpec& spec) {
  return config_text(kItemModel, kMostItemsAtOnce, item_signature(spec),
                     warmup(item_tower_inputs(spec)));
}

int64_t add_triton_version(const std::string& directory, const TowerSpec& spec) {
  const std::string user = directory + "/" + kUserModel, item = directory + "/" + kItemModel;
  require_signature(user, user_signature(spec));
  require_signature(item, item_signature(spec));
  const int64_t number = 1 + std::max(newest_version(user), newest_version(item));
  MadePaths made({directory, item, user, user + "/warmup"});
  // Item vectors come from an index, so that the user tower is what changes the answers: it is
  // last.
  publish_version(item, number, item_tower(spec), made);
  publish_missing(item + "/" + kConfigName, triton_item_config(spec), made);
  publish_missing(user + "/warmup/length", kOneEvent, made);
  publish_version(user, number, user_tower(spec), made);
  publish_missing(user + "/" + kConfigName, triton_user_config(spec), made);
  made.keep();
  return number;
}

}  // namespace pinnerformer
