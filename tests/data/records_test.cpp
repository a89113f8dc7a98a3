#include <gtest/gtest.h>

#include "data/records/record_source.h"
#include "tests/core/refusal.h"

namespace isogrid {
namespace {

/// Every record as "line: a=... b=...", refusals as "line: !".
std::string listed(FileType type, std::string_view bytes) {
  const auto source = open_records(type, bytes, "f");
  Record record({"a", "b", std::string(kTextColumn)});
  std::string list;
  for (RawRecord raw; source->next(raw);) {
    list += std::to_string(raw.line) + ":";
    try {
      source->read(raw, record);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::refused_input);
      EXPECT_EQ(std::string(error.what()).substr(0, 2), "f:") << error.what();
      list += " !\n";
      continue;
    }
    for (const char* name : {"a", "b", "text"}) {
      const Cell& cell = record.cell(name);
      if (cell.kind == Cell::Kind::text) list += std::string(" ") + name + "='" + cell.value + "'";
      if (cell.kind == Cell::Kind::json) list += std::string(" ") + name + "=" + cell.value;
      if (cell.kind == Cell::Kind::null) list += std::string(" ") + name + "=null";
    }
    list += "\n";
  }
  EXPECT_LE(source->consumed(), bytes.size());
  return list;
}

TEST(JsonRecords, AreLines) {
  EXPECT_EQ(
      listed(FileType::json, "{\"a\": \"x\\n\", \"c\": [1]}\n\n  {\"b\": [1, {\"k\": 2}]}\r\n"),
      "1: a='x\n'\n3: b=[1, {\"k\": 2}]\n");
}

TEST(JsonRecords, AreElementsOfAnArray) {
  EXPECT_EQ(
      listed(FileType::json, "[\n {\"a\": \"]},{\\\"\"},\n\n {\"a\": null,\n  \"b\": 7 }\n]\n"),
      "2: a=']},{\"'\n4: a=null b=7 \n");
  EXPECT_EQ(listed(FileType::json, "[]"), "");
  EXPECT_EQ(listed(FileType::json, "\xEF\xBB\xBF[{\"a\":\"x\"}]"), "1: a='x'\n");
}

TEST(JsonRecords, AreValuesSpreadOverLines) {
  EXPECT_EQ(listed(FileType::json, "{\n\"a\": \"x\"\n}\n{\n\"a\": \"y\"\n}\n"),
            "1: a='x'\n4: a='y'\n");
}

TEST(JsonRecords, KeepABrokenLineToItself) {
  EXPECT_EQ(listed(FileType::json, "{\"a\": \"x\"}\n{\"a\": \"y\n{\"a\": \"z\"}\n[1]\nnull\n"),
            "1: a='x'\n2: !\n3: a='z'\n4: !\n5: !\n");
  EXPECT_EQ(listed(FileType::json, "[{\"a\": tru}, 7, {\"a\": \"\\ud800\"}, {\"a\":\"z\"}]"),
            "1: !\n1: !\n1: !\n1: a='z'\n");
  EXPECT_EQ(listed(FileType::json, R"({"a": "x", "a": "y"})"), "1: !\n");
}

TEST(JsonRecords, RefuseAFileThatCannotBeCut) {
  const auto read_all = [](std::string_view bytes) {
    const auto source = open_records(FileType::json, bytes, "f");
    for (RawRecord raw; source->next(raw);) continue;
  };
  expect_refusal([&] { read_all("[{\"a\": 1},\n{\"a\": 2"); }, ExitCode::refused_input, "f:2: ");
  expect_refusal([&] { read_all("[{\"a\": 1}\n{\"a\": 2}]"); }, ExitCode::refused_input,
                 "f:2: ','");
  expect_refusal([&] { read_all("[{\"a\": 1}]\n]"); }, ExitCode::refused_input, "behind the array");
  expect_refusal([&] { read_all("[{\"a\": 1},]"); }, ExitCode::refused_input, "record is missing");
}

TEST(CsvRecords, KeepQuotedCommasLinesAndQuotes) {
  EXPECT_EQ(
      listed(FileType::csv, "a,b,c\r\n1,\"x, \"\"y\"\"\nz\",3\r\n\r\n\"\",plain \"quotes\",\n"),
      "2: a='1' b='x, \"y\"\nz'\n5: a=null b='plain \"quotes\"'\n");
}

TEST(CsvRecords, NameWhatIsWrong) {
  EXPECT_EQ(listed(FileType::csv, "a,b\n1,2,3\n4\n\"5\"x,6\n7,\xff\n8,9"),
            "2: !\n3: !\n4: !\n5: !\n6: a='8' b='9'\n");
  EXPECT_EQ(listed(FileType::csv, "a,b\n1,\"never\n2,3\n"), "2: !\n");
  EXPECT_EQ(listed(FileType::csv, ""), "");
}

TEST(TextRecords, AreLines) {
  EXPECT_EQ(listed(FileType::text, "one\r\n\ntwo \xff\nthree"),
            "1: text='one'\n2: text=''\n3: !\n4: text='three'\n");
}

TEST(Records, AreBounded) {
  const std::string deep = "{\"c\": " + std::string(100, '[') + std::string(100, ']') + "}";
  EXPECT_EQ(listed(FileType::json, deep), "1: !\n");
  const std::string many_keys = [] {
    std::string text = "{\"a\": \"x\"";
    for (int i = 0; i < 20000; ++i) text += ",\"k" + std::to_string(i) + "\":0";
    return text + "}";
  }();
  EXPECT_EQ(listed(FileType::json, many_keys), "1: a='x'\n");
}

}  // namespace
}  // namespace isogrid
