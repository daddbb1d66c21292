// One pass over the text, without a copy of it: tables of images have hundreds of columns.
#include "hebb/io/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#if !defined(__cpp_lib_to_chars)
#include <clocale>
#include <cstdlib>
#if defined(__APPLE__)
#include <xlocale.h>
#endif
#endif

#include "hebb/core/check.h"
#include "hebb/io/file.h"

namespace hebb::io {
namespace {

/// The number that `cell` spells, independent of the locale; nothing for other text. Numbers beyond f64 are
/// given as infinity.
std::optional<double> parse_number(std::string_view cell) {
  if (cell.starts_with('+') && !cell.starts_with("+-")) cell.remove_prefix(1);
  if (cell.empty()) return {};
  double value = 0;
#if defined(__cpp_lib_to_chars)
  const auto [last, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error == std::errc::invalid_argument || last != cell.data() + cell.size()) return {};
  if (error == std::errc()) return value;
#endif
  // Numbers too large or too small, which from_chars does not tell apart; and all of them where it is missing
  // (libc++ before version 20).
  static const locale_t c_locale = newlocale(LC_ALL_MASK, "C", nullptr);
  const std::string text(cell);
  char* end = nullptr;
  value = strtod_l(text.c_str(), &end, c_locale);
  const bool hex = text.find_first_of("xX") != std::string::npos;  // strtod takes 0x1p3, from_chars does not
  if (hex || end != text.c_str() + text.size()) return {};
  return value;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trim(std::string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

/// Cuts a file into rows and cells.
class CsvReader {
 public:
  CsvReader(std::string_view text, char delimiter, const std::string& path)
      : text_(text), delimiter_(delimiter), path_(path) {
    if (text_.starts_with("\xef\xbb\xbf"))
      text_.remove_prefix(3);  // the mark that spreadsheets put before UTF-8
  }

  /// Goes to the next row that is not blank; false at the end of the file.
  bool next_row() {
    while (!text_.empty()) {
      const size_t end = text_.find('\n');
      if (!trim(text_.substr(0, end)).empty()) {
        row_line_ = line_;
        in_row_ = true;
        return true;
      }
      if (end == std::string_view::npos) break;
      skip(end + 1);
      ++line_;
    }
    return false;
  }

  /// The row's next cell, trimmed and without its quotes; nothing after the last. It is valid until the next
  /// call.
  std::optional<std::string_view> next_cell() {
    if (!in_row_) return {};
    size_t begin = 0;
    while (begin < text_.size() && is_space(text_[begin]) && text_[begin] != delimiter_) ++begin;
    if (begin < text_.size() && text_[begin] == '"') {
      skip(begin + 1);
      return quoted();
    }
    size_t end = 0;
    while (end < text_.size() && text_[end] != delimiter_ && text_[end] != '\n') ++end;
    const std::string_view cell = trim(text_.substr(0, end));
    finish_cell(end);
    return cell;
  }

  /// Where the current row begins, counted from 1.
  int64_t line() const { return row_line_; }

 private:
  void skip(size_t n) { text_.remove_prefix(n); }

  /// Leaves the cell that ends at `end`: a delimiter, a line's end or the file's.
  void finish_cell(size_t end) {
    in_row_ = end < text_.size() && text_[end] == delimiter_;
    if (end < text_.size() && text_[end] == '\n') ++line_;
    skip(std::min(end + 1, text_.size()));
    // A delimiter that ends the file ends one cell and begins an empty one, which the next call returns.
  }

  std::string_view quoted() {
    unquoted_.clear();
    for (;;) {
      const size_t quote = text_.find('"');
      HEBB_CHECK(quote != std::string_view::npos,
                 "[load_csv] {}: line {}: expected a closing quote, got the end of the file", path_,
                 row_line_);
      unquoted_.append(text_.substr(0, quote));
      line_ += std::count(text_.begin(), text_.begin() + static_cast<int64_t>(quote), '\n');
      skip(quote + 1);
      if (!text_.starts_with('"')) break;
      unquoted_ += '"';
      skip(1);
    }
    size_t end = 0;
    while (end < text_.size() && is_space(text_[end]) && text_[end] != delimiter_) ++end;
    HEBB_CHECK(end == text_.size() || text_[end] == delimiter_ || text_[end] == '\n',
               "[load_csv] {}: line {}: expected '{}' or the line's end after a closing quote, got '{}'",
               path_, line_, delimiter_, text_[end]);
    finish_cell(end);
    return trim(unquoted_);
  }

  std::string_view text_;  // what is left
  char delimiter_;
  const std::string& path_;
  std::string unquoted_;
  int64_t line_ = 1, row_line_ = 1;
  bool in_row_ = false;
};

double number_in(std::string_view cell, const std::string& path, int64_t line, const std::string& column) {
  const auto value = parse_number(cell);
  HEBB_CHECK(!cell.empty(), "[load_csv] {}: line {}, column \"{}\": expected a number, got an empty cell",
             path, line, column);
  HEBB_CHECK(value, "[load_csv] {}: line {}, column \"{}\": expected a number, got \"{}\"", path, line,
             column, cell.substr(0, 80));
  HEBB_CHECK(std::isfinite(*value),
             "[load_csv] {}: line {}, column \"{}\": expected a finite number, got \"{}\"", path, line,
             column, cell.substr(0, 80));
  return *value;
}

}  // namespace

CsvTable load_csv(const std::string& path, const CsvOptions& options) {
  HEBB_CHECK(options.delimiter != '"' && options.delimiter != '\n' && options.delimiter != '\r',
             "[load_csv] {}: expected a delimiter other than a quote or a line's end", path);
  const std::string text = read_maybe_gzip(path, "load_csv");
  CsvReader reader(text, options.delimiter, path);
  HEBB_CHECK(reader.next_row(), "[load_csv] {}: expected rows of numbers, got {}", path,
             text.empty() ? "an empty file" : "blank lines");

  std::vector<std::string> first;
  bool any_text = false;
  while (const auto cell = reader.next_cell()) {
    any_text = any_text || (!cell->empty() && !parse_number(*cell));
    first.emplace_back(*cell);
  }
  CsvTable table;
  std::vector<double> values;
  if (options.header == CsvHeader::yes || (options.header == CsvHeader::automatic && any_text)) {
    table.columns = std::move(first);
  } else {
    for (size_t i = 0; i < first.size(); ++i) table.columns.push_back(std::to_string(i));
    for (size_t i = 0; i < first.size(); ++i)
      values.push_back(number_in(first[i], path, reader.line(), table.columns[i]));
  }

  const size_t columns = table.columns.size();
  while (reader.next_row()) {
    size_t n = 0;
    while (const auto cell = reader.next_cell()) {
      if (n < columns) values.push_back(number_in(*cell, path, reader.line(), table.columns[n]));
      ++n;
    }
    HEBB_CHECK(n == columns, "[load_csv] {}: line {}: expected {} cells as in the first row, got {}", path,
               reader.line(), columns, n);
  }
  table.values =
      Tensor::from(values, {static_cast<int64_t>(values.size() / columns), static_cast<int64_t>(columns)});
  return table;
}

}  // namespace hebb::io
