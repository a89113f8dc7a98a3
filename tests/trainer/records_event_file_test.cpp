#include "trainer/records/event_file.h"

#include <gtest/gtest.h>

#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) text += static_cast<char>(value);
  return text;
}

TEST(Crc32c, GivesTheCheckValueOfTheStandard) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(ScalarEvent, IsTheProtobufThatTensorBoardReads) {
  // Event{wall_time: 1.0, step: 300, summary{value{tag: "a", simple_value: 0.5}}} by hand.
  const std::string expected = bytes({0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}) +
                               bytes({0x10, 0xac, 0x02}) +
                               bytes({0x2a, 10, 0x0a, 8, 0x0a, 1, 'a', 0x15, 0, 0, 0, 0x3f});
  EXPECT_EQ(scalar_event(1.0, 300, {{"a", 0.5}}), expected);
}

TEST(FramedRecord, HasLengthChecksumDataChecksum) {
  const std::string record = framed_record("123456789");
  ASSERT_EQ(record.size(), 8 + 4 + 9 + 4u);
  EXPECT_EQ(record.substr(0, 8), bytes({9, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(record.substr(12, 9), "123456789");
  // 0xe3069283 turned right by 15 bits is 0x2507c60d; plus 0xa282ead8 is 0xc78ab0e5.
  EXPECT_EQ(record.substr(21), bytes({0xe5, 0xb0, 0x8a, 0xc7}));
}

TEST(EventFile, OfALaterAttemptSortsBehindTheEarlierOnes) {
  const TemporaryDirectory folder;
  folder.write("runs/events.out.tfevents.4000000000.elsewhere", "");
  { const EventFile file(folder / "runs", 0, IoCalls::system()); }
  { const EventFile file(folder / "runs", 7, IoCalls::system()); }
  EXPECT_TRUE(std::filesystem::exists(folder / "runs/events.out.tfevents.4000000001.isogrid"));
  EXPECT_TRUE(std::filesystem::exists(folder / "runs/events.out.tfevents.4000000002.isogrid"));
}

}  // namespace
}  // namespace isogrid
