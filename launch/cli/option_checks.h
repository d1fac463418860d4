// Checks of option values that several commands share. All throw UsageError.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace pinnerformer {

// Seconds since 1970 (UTC) of the option --NAME. Refuses a time after 2100, which is usually in
// milliseconds, and a number of eight digits that is a date.
[[nodiscard]] int64_t time_option(const std::string& name, const std::string& text);

// Refuses a number of the option --NAME outside of these bounds, which are themselves allowed.
void require_at_least(const std::string& name, int64_t value, int64_t least);
void require_between(const std::string& name, int64_t value, int64_t least, int64_t most);

// Refuses the name of a file to write, of the format `what` and with one of these endings, where
// its ending belongs to another format. An ending that no format has may stand behind any name.
void require_ending(const std::string& name, const std::string& file, const std::string& what,
                    std::initializer_list<std::string_view> endings);
// The same for a file of HDF5. Refuses also the files of a dataset or of an export that is there.
void require_hdf5_ending(const std::string& name, const std::string& file);
// The same for a directory to write, which has the ending of no file format.
void require_directory_name(const std::string& name, const std::string& directory);

// Whether `path` is `directory` or lies in it; neither need exist.
[[nodiscard]] bool lies_within(const std::string& path, const std::string& directory);
// Refuses --json where the command itself writes `own`: that file, or files in that directory.
void require_json_apart(const std::string& json, const std::string& own);

}  // namespace pinnerformer
