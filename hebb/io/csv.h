// Tables of numbers as comma-separated values (RFC 4180), for data sets that people keep in spreadsheets.
#pragma once
#include <string>
#include <vector>

#include "hebb/core/tensor.h"

namespace hebb::io {

/// Whether the first row names the columns. `automatic`: it does if one of its cells is text.
enum class CsvHeader { automatic, yes, no };

/// Options of load_csv.
struct CsvOptions {
  char delimiter = ',';
  CsvHeader header = CsvHeader::automatic;
};

/// What load_csv gives.
struct CsvTable {
  std::vector<std::string> columns;  ///< names; "0", "1", ... without a header
  Tensor values;                     ///< f64, [rows, columns]
};

/// The numbers of a CSV file, raw or packed by gzip. Cells may be quoted (a quote inside is doubled) and
/// padded by spaces; lines end with LF or CRLF; blank lines are skipped. A file with a header alone has 0
/// rows. Throws Error with file, line and column for a cell that is empty, text or not finite (nan, inf), for
/// a row that is longer or shorter than the first, for wrong quotes, and for a file without rows.
CsvTable load_csv(const std::string& path, const CsvOptions& options = {});

}  // namespace hebb::io
