// CSV: what spreadsheets write, and messages that lead to the cell that is wrong.
#include "hebb/io/csv.h"

#include <clocale>

#include "tests/io/files.h"

namespace hebb::io {
namespace {

using namespace test;

class CsvTest : public IoTest {
 protected:
  CsvTable load(const std::string& text, const CsvOptions& options = {}) const {
    return load_csv(file("x.csv", text), options);
  }
  std::string load_error(const std::string& text, const CsvOptions& options = {}) const {
    const std::string message = error_of([&] { load(text, options); });
    const std::string place = "[load_csv] " + path("x.csv") + ": ";
    EXPECT_THAT(message, testing::StartsWith(place));
    return message.substr(std::min(place.size(), message.size()));
  }
};

TEST_F(CsvTest, ReadsNumbersWithoutAHeader) {
  const CsvTable t = load("1,2.5\n-3e2,+4\n");
  EXPECT_THAT(t.columns, ElementsAre("0", "1"));
  expect_values(t.values, f64, {2, 2}, {1, 2.5, -300, 4});
}

TEST_F(CsvTest, SeesAHeaderByItsText) {
  const CsvTable t = load("x,y\n1,2\n");
  EXPECT_THAT(t.columns, ElementsAre("x", "y"));
  expect_values(t.values, f64, {1, 2}, {1, 2});
  EXPECT_THAT(load(",x\n0,5\n").columns, ElementsAre("", "x"));  // as pandas writes its index
  EXPECT_THAT(load("2019,x\n0,5\n").columns, ElementsAre("2019", "x"));
}

TEST_F(CsvTest, TheOptionDecidesAboutTheHeader) {
  EXPECT_THAT(load("1,2\n3,4\n", {.header = CsvHeader::yes}).columns, ElementsAre("1", "2"));
  EXPECT_EQ(load_error("x,y\n1,2\n", {.header = CsvHeader::no}),
            "line 1, column \"0\": expected a number, got \"x\"");
}

TEST_F(CsvTest, ReadsWhatSpreadsheetsWrite) {
  const CsvTable t = load("\xef\xbb\xbf\"a, \"\"b\"\"\",\"c\r\nd\"\r\n\r\n \"1\" , 2\r\n   \r\n3,\"4\"");
  EXPECT_THAT(t.columns, ElementsAre("a, \"b\"", "c\r\nd"));
  expect_values(t.values, f64, {2, 2}, {1, 2, 3, 4});
}

TEST_F(CsvTest, TakesOtherDelimiters) {
  expect_values(load("1;2\n3;4", {.delimiter = ';'}).values, f64, {2, 2}, {1, 2, 3, 4});
  expect_values(load("1\t 2\n3\t4", {.delimiter = '\t'}).values, f64, {2, 2}, {1, 2, 3, 4});
  expect_values(load("1 2\n3 4", {.delimiter = ' '}).values, f64, {2, 2}, {1, 2, 3, 4});
  EXPECT_THAT(load_error("1", {.delimiter = '"'}), HasSubstr("expected a delimiter other than"));
}

TEST_F(CsvTest, ReadsTablesOfOneColumnAndOfNoRows) {
  expect_values(load("1\n\n2\n").values, f64, {2, 1}, {1, 2});
  const CsvTable t = load("x,y");
  EXPECT_THAT(t.columns, ElementsAre("x", "y"));
  expect_values(t.values, f64, {0, 2}, {});
}

TEST_F(CsvTest, ReadsPackedFilesAndExactNumbers) {
  expect_values(load(gzip_stored("0.1,1.7976931348623157e308,4.9e-324\n")).values, f64, {1, 3},
                {0.1, 1.7976931348623157e308, 4.9e-324});
}

TEST_F(CsvTest, DoesNotDependOnTheLocale) {
  const char* german = std::setlocale(LC_ALL, "de_DE.UTF-8");
  expect_values(load("1.5,2\n").values, f64, {1, 2}, {1.5, 2});
  if (german) std::setlocale(LC_ALL, "C");
}

TEST_F(CsvTest, NamesTheCellThatIsNoNumber) {
  EXPECT_EQ(load_error("height,weight\n1,2\n\n3,heavy\n"),
            "line 4, column \"weight\": expected a number, got \"heavy\"");
  EXPECT_EQ(load_error("a,b\n1,\n"), "line 2, column \"b\": expected a number, got an empty cell");
  EXPECT_EQ(load_error("a,b\n\"\",2\n"), "line 2, column \"a\": expected a number, got an empty cell");
  EXPECT_EQ(load_error("1,,3\n"), "line 1, column \"1\": expected a number, got an empty cell");
  for (const std::string text : {"1x", "0x10", "1,5", "--1", "+-1", "1 2", "1e", "."})
    EXPECT_EQ(load_error("a\n\"" + text + "\"\n"),
              "line 2, column \"a\": expected a number, got \"" + text + "\"");
  for (const std::string text : {"nan", "inf", "-inf", "1e999"})
    EXPECT_EQ(load_error("a\n" + text + "\n"),
              "line 2, column \"a\": expected a finite number, got \"" + text + "\"");
}

TEST_F(CsvTest, CountsLinesInsideQuotes) {
  EXPECT_EQ(load_error("\"a\nb\",c\n1,2\n3,x\n"), "line 4, column \"c\": expected a number, got \"x\"");
}

TEST_F(CsvTest, SeesRaggedRows) {
  EXPECT_EQ(load_error("a,b\n1,2\n3\n"), "line 3: expected 2 cells as in the first row, got 1");
  EXPECT_EQ(load_error("1,2\n3,4,5\n"), "line 2: expected 2 cells as in the first row, got 3");
  EXPECT_EQ(load_error("1,2\n3,4,"), "line 2: expected 2 cells as in the first row, got 3");
}

TEST_F(CsvTest, SeesWrongQuotes) {
  EXPECT_EQ(load_error("a,b\n1,\"2\n3,4\n"), "line 2: expected a closing quote, got the end of the file");
  EXPECT_EQ(load_error("a,b\n\"1\"2,3\n"),
            "line 2: expected ',' or the line's end after a closing quote, got '2'");
}

TEST_F(CsvTest, SurvivesAnyChangedByte) {
  survive_changed_bytes("\"a\",b\r\n\"1\",2.5e3\n\n3, 4\n", [&](const std::string& b) { load(b); });
}

TEST_F(CsvTest, SeesFilesWithoutRows) {
  EXPECT_EQ(load_error(""), "expected rows of numbers, got an empty file");
  EXPECT_EQ(load_error("\n  \r\n"), "expected rows of numbers, got blank lines");
  EXPECT_THAT(error_of([&] { load_csv(path("none")); }), HasSubstr("No such file"));
}

}  // namespace
}  // namespace hebb::io
