#include "data/kd_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "tests/core/refusal.h"
#include "tests/data/kd_folder.h"

namespace isogrid {
namespace {

using test::KdFolder;

KdFolder five_documents() {
  return KdFolder({KdFolder::document({1, 2, 3}), KdFolder::document({4, 5}),
                   KdFolder::document({6, 7, 8, 9}), KdFolder::document({1, 2}),
                   KdFolder::document({2, 1})});
}

TEST(KdCache, HoldsForEveryLabelWhatTheTeacherSaid) {
  KdFolder folder = five_documents();
  folder.meta.negatives = 2;
  folder.write();
  const auto cache = KdCache::open(folder.path());
  EXPECT_EQ(cache->meta().shards(), 3);
  EXPECT_EQ(cache->documents()->examples(), 5);
  EXPECT_EQ(cache->labels(2), 3);

  TeacherTokens teacher;
  cache->append(1, teacher);  // shard 0, behind the two labels of document 0
  cache->append(2, teacher);  // shard 1, its first
  EXPECT_EQ(teacher.top_k, 3);
  EXPECT_EQ(teacher.negatives, 2);
  ASSERT_EQ(teacher.ids.size(), 4u * 3);
  EXPECT_EQ(teacher.ids[0], KdFolder::id(0, 2, 0));
  EXPECT_EQ(teacher.ids[3], KdFolder::id(1, 0, 0));
  EXPECT_EQ(teacher.log_probs[1], KdFolder::log_prob(2, 1));
  EXPECT_EQ(teacher.log_tails, (std::vector<float>{-3, -4, -1, -2, -2, -3, -3, -4}));
  EXPECT_EQ(teacher.negative_ids[2], KdFolder::id(1, 0, 3));
}

TEST(KdCache, FindsADocumentByItsTokensAndLabels) {
  const KdFolder folder = five_documents();
  folder.write();
  const auto cache = KdCache::open(folder.path());
  EXPECT_EQ(cache->find(KdFolder::document({6, 7, 8, 9}), 0), 2);
  EXPECT_EQ(cache->find(KdFolder::document({2, 1}), 0), 4);
  EXPECT_EQ(cache->find(KdFolder::document({2, 2}), 0), std::nullopt);
  std::vector<uint32_t> other_labels = KdFolder::document({6, 7, 8, 9});
  other_labels[1] = TokenWord::make(7, false);
  EXPECT_EQ(cache->find(other_labels, 0), std::nullopt);
  std::vector<uint32_t> labelled_first = KdFolder::document({2, 1});
  labelled_first[0] = TokenWord::make(2, true);  // nobody predicts it
  EXPECT_EQ(cache->find(labelled_first, 0), 4);
}

TEST(KdCache, IsGoneOnWithWhereItStopped) {
  const KdFolder folder = five_documents();
  {
    KdCacheWriter first = folder.writer();
    auto claim = first.claim();
    folder.write_shard(first, *claim);
    claim = first.claim();  // killed before it was written
    ASSERT_EQ(claim->shard, 1);
  }
  expect_refusal([&] { KdCache::open(folder.path()); }, ExitCode::missing_input, "not finished");
  KdCacheWriter second = folder.writer();
  EXPECT_EQ(second.labels_done(), 3);
  std::vector<int64_t> shards;
  while (auto claim = second.claim()) {
    shards.push_back(claim->shard);
    folder.write_shard(second, *claim);
  }
  EXPECT_EQ(shards, (std::vector<int64_t>{1, 2}));
  second.finish();
  EXPECT_EQ(KdCache::open(folder.path())->meta().label_tokens, 8);
}

TEST(KdCache, LetsSeveralWritersShareTheWork) {
  const KdFolder folder = five_documents();
  KdCacheWriter one = folder.writer(), two = folder.writer();
  auto first = one.claim(), second = two.claim();
  EXPECT_EQ(first->shard, 0);
  EXPECT_EQ(second->shard, 1);
  folder.write_shard(two, *second);
  second = two.claim();
  EXPECT_EQ(second->shard, 2);
  folder.write_shard(two, *second);
  folder.write_shard(one, *first);
  EXPECT_FALSE(one.claim());
  one.finish();
  EXPECT_TRUE(two.is_complete());
  two.finish();
  std::string leftovers;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    if (entry.path().filename().string().starts_with('.')) leftovers += entry.path().string();
  EXPECT_EQ(leftovers, "");
}

TEST(KdCache, IsNotMixedWithAnother) {
  KdFolder folder = five_documents();
  folder.write();
  folder.meta.top_k = 2;
  expect_refusal([&] { folder.writer(); }, ExitCode::locked, "top_k 3, now 2");
  const TemporaryDirectory foreign;
  foreign.write("cache/notes.txt", "mine");
  const KdFolder another = five_documents();
  expect_refusal(
      [&] { KdCacheWriter(foreign / "cache", another.full_meta(), another.documents(), 0, {}); },
      ExitCode::locked, "notes.txt");
}

TEST(KdCache, NamesWhatIsMissingOrChanged) {
  const KdFolder folder = five_documents();
  folder.write();
  const std::string shard = folder.path() + "/" + kd_shard_name(1);
  const std::string bytes = file_content(shard);
  std::filesystem::remove(shard);
  expect_refusal([&] { KdCache::open(folder.path()); }, ExitCode::missing_input, "shard-00001");
  std::string changed = bytes;
  changed.back() = static_cast<char>(changed.back() ^ 1);
  folder.folder.write("cache/" + kd_shard_name(1), changed);
  expect_refusal([&] { KdCache::open(folder.path()); }, ExitCode::refused_input, "shard-00001");
  folder.folder.write("cache/" + kd_shard_name(1), bytes);
  EXPECT_NO_THROW(KdCache::open(folder.path()));
  const TemporaryDirectory empty;
  expect_refusal([&] { KdCache::open(empty.path().string()); }, ExitCode::missing_input,
                 "no teacher's cache");
}

class HostileKdCache : public testing::Test {
 protected:
  HostileKdCache() : folder_(five_documents()) { folder_.write(); }
  void expect(const std::string& part) {
    expect_refusal([&] { KdCache::open(folder_.path()); }, ExitCode::refused_input, part);
  }
  KdFolder folder_;
};

TEST_F(HostileKdCache, IdsBeyondTheVocabularyAreRefused) {
  folder_.plant(1, kKdIds, 4, int32_t{50});
  expect("token id 50; the vocabulary holds 0 to 49");
}
TEST_F(HostileKdCache, NegativeIdsAreRefused) {
  folder_.plant(0, kKdIds, 0, int32_t{-1});
  expect("token id -1");
}
TEST_F(HostileKdCache, ATokenThatStandsTwiceIsRefused) {
  folder_.plant(0, kKdIds, 1, KdFolder::id(0, 0, 0));
  expect("twice");
}
TEST_F(HostileKdCache, NumbersThatAreNotFiniteAreRefused) {
  folder_.plant(2, kKdLogProbs, 2, std::numeric_limits<float>::quiet_NaN());
  expect("top_log_probs: element 2 is not finite");
  folder_.plant(2, kKdLogProbs, 2, -4.0f);
  folder_.plant(1, kKdLogTails, 1, -std::numeric_limits<float>::infinity());
  expect("log_tails");
}
TEST_F(HostileKdCache, GuessesOutOfOrderAreRefused) {
  folder_.plant(0, kKdLogProbs, 1, -0.5f);
  expect("the largest first");
  folder_.plant(0, kKdLogProbs, 0, 0.25f);
  expect("top_log_probs");
}
TEST_F(HostileKdCache, ShardsOfAnotherShapeAreRefused) {
  const std::string other = file_content(folder_.path() + "/" + kd_shard_name(0));
  folder_.tamper(kd_shard_name(2), [&](std::string& bytes) { bytes = other; });
  expect("its tensors are not those of 1 labelled tokens");
}
TEST_F(HostileKdCache, ShardsTheManifestDoesNotListAreRefused) {
  std::filesystem::remove(folder_.path() + "/" + kd_shard_name(2));
  folder_.seal();
  expect("does not list shard-00002");
}
TEST_F(HostileKdCache, CountsThatDoNotFitTheDocumentsAreRefused) {
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"label_tokens\": 8", "\"label_tokens\": 7"},
           {"\"documents\": 5", "\"documents\": 6"},
           {"\"vocabulary\": 50", "\"vocabulary\": 5000000000"},
           {"\"top_k\": 3", "\"top_k\": 51"},
           {"\"documents_per_shard\": 2", "\"documents_per_shard\": 0"},
           {"\"documents_per_shard\": 2", "\"documents_per_shard\": 1"},
           {"\"log_prob_type\": \"F32\"", "\"log_prob_type\": \"I32\""},
           {"\"format_version\": 1", "\"format_version\": 2"}}) {
    SCOPED_TRACE(to);
    const std::string before = file_content(folder_.path() + "/" + kKdMetaName);
    folder_.tamper(kKdMetaName, [&](std::string& text) {
      const size_t place = text.find(from);
      ASSERT_NE(place, std::string::npos);
      text.replace(place, from.size(), to);
    });
    expect("");
    folder_.tamper(kKdMetaName, [&](std::string& text) { text = before; });
  }
  EXPECT_NO_THROW(KdCache::open(folder_.path()));
}

TEST(KdCache, ReadsSixteenBitLogProbabilities) {
  KdFolder folder({KdFolder::document({1, 2})});
  folder.meta.log_prob_type = Dtype::f16;
  folder.meta.top_k = 5;
  folder.meta.temperatures = {};
  KdCacheWriter writer = folder.writer();
  auto claim = writer.claim();
  const std::vector<int32_t> ids{4, 3, 2, 1, 0};
  const std::vector<uint16_t> halves{0x8000, 0x8001, 0xB800, 0xBC00, 0xFBFF};
  writer.commit(*claim, {{kKdIds, std::as_bytes(std::span(ids))},
                         {kKdLogProbs, std::as_bytes(std::span(halves))}});
  writer.finish();
  TeacherTokens teacher;
  KdCache::open(folder.path())->append(0, teacher);
  EXPECT_EQ(teacher.log_probs, (std::vector<float>{-0.0f, -0x1p-24f, -0.5f, -1.0f, -65504.0f}));
}

}  // namespace
}  // namespace isogrid
