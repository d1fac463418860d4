// The newest metrics in a file, for the textfile collector of node_exporter.
#pragma once
#include <string>

namespace pinnerformer {

// Replaces `path` by rename, so that a reader sees the old text or the new one. It is not brought
// to the disk: training would wait for that at every record, and after a crash of the machine the
// text is of no use. Throws IoError.
void replace_prometheus_file(const std::string& path, const std::string& text);

}  // namespace pinnerformer
