#include "data/templates/json_text.h"

#include <gtest/gtest.h>

#include "core/json.h"

namespace isogrid {
namespace {

std::string dumped(std::string_view json) { return json_text(parse_json(json, "test")); }

TEST(JsonText, SpacesAndOrderAreThoseOfPython) {
  EXPECT_EQ(dumped(R"({"b":[1,2,{}],"a":{"x":null,"y":[]},"ok":true})"),
            R"({"b": [1, 2, {}], "a": {"x": null, "y": []}, "ok": true})");
}

TEST(JsonText, TextOutsideAsciiStays) {
  EXPECT_EQ(dumped(R"({"Stra\u00dfe": "北京 \ud83d\ude00 \u0001\u007f\/"})"),
            "{\"Straße\": \"北京 😀 \\u0001\x7f/\"}");
  EXPECT_EQ(dumped(R"("\"\\\n\r\t\b\f")"), R"("\"\\\n\r\t\b\f")");
}

TEST(JsonText, FloatsAreWrittenAsRepr) {
  EXPECT_EQ(dumped("[1.0, 0.1, 1e15, 1e16, 1.5e300, 0.0001, 0.00001, -0.0, 1E2, 123456.789]"),
            "[1.0, 0.1, 1000000000000000.0, 1e+16, 1.5e+300, 0.0001, 1e-05, -0.0, 100.0, "
            "123456.789]");
}

TEST(JsonText, IndentsLikePython) {
  EXPECT_EQ(json_text(parse_json(R"({"a":[1,{"b":{}}]})", "test"), 4),
            "{\n    \"a\": [\n        1,\n        {\n            \"b\": {}\n        }\n    ]\n}");
}

TEST(JsonText, PythonTextQuotesAsReprDoes) {
  EXPECT_EQ(python_text(parse_json(
                R"({"a": "it's", "b": "\"both'", "c": [true, false, null, 1.5], "d": "x\n\u0007"})",
                "test")),
            R"({'a': "it's", 'b': '"both\'', 'c': [True, False, None, 1.5], 'd': 'x\n\x07'})");
}

}  // namespace
}  // namespace isogrid
