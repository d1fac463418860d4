// Guesses for messages and for `import --describe`: what the columns of a table may hold.
#pragma once
#include <string>
#include <vector>

#include "dataloader/import/table.h"

namespace pinnerformer {

// "--columns user=uid,item=iid,time=ts:ms" from the names of columns and the values of a first row;
// roles for which no column looks right are left out, and --untimed stands for a time where no
// column holds dates either. "" where no column looks right.
[[nodiscard]] std::string guess_columns_option(const std::vector<TableField>& fields,
                                               const std::vector<std::string>& first_row);

// Whether a row that was taken for a header looks like data: some of its cells are numbers or
// times.
[[nodiscard]] bool looks_like_data(const std::vector<TableField>& fields);

// Whether a row that was taken for data looks like a header: it holds common names of a column of
// users and of one of items.
[[nodiscard]] bool looks_like_header(const std::vector<TableField>& fields);

// What a user whose file is separated by something else may try: "; this looks separated by ...".
// "" where the first line holds the delimiter of `form`.
[[nodiscard]] std::string delimiter_advice(const InputFile& file, const FileForm& form);

// What a user whose column was not found may try, where the file seems to have another form: "; the
// first row looks like data ...". "" where it does not.
[[nodiscard]] std::string form_advice(const InputFile& file, const FileForm& form,
                                      const std::vector<TableField>& fields);
// Else, of a table of events: "; perhaps --columns ...".
[[nodiscard]] std::string mapping_advice(const InputFile& file,
                                         const std::vector<TableField>& fields);

}  // namespace pinnerformer
