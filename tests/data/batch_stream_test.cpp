#include "data/batch_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "data/keyed_permutation.h"
#include "tests/core/refusal.h"
#include "tests/data/example_store.h"

namespace isogrid {
namespace {

TEST(KeyedPermutation, IsABijectionOfEverySize) {
  for (const uint64_t size : {1, 2, 3, 4, 5, 16, 17, 100, 1000, 4097}) {
    const KeyedPermutation shuffle(size, Rng(7, Purpose::row_order, {size}).key());
    std::vector<uint64_t> seen;
    for (uint64_t i = 0; i < size; ++i) seen.push_back(shuffle(i));
    std::sort(seen.begin(), seen.end());
    for (uint64_t i = 0; i < size; ++i) ASSERT_EQ(seen[i], i) << "size " << size;
  }
}

TEST(KeyedPermutation, StaysInsideHugeDomains) {
  const uint64_t size = (uint64_t{1} << 62) + 12345;
  const KeyedPermutation shuffle(size, Rng(7, Purpose::row_order).key());
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_LT(shuffle(i), size);
    seen.insert(shuffle(i));
  }
  EXPECT_EQ(seen.size(), 1000u);
}

// A shuffle that prefers places shows here: each of 8 numbers lands on each of 8 places about
// 500 times in 4,000 shuffles.
TEST(KeyedPermutation, FavoursNoPlace) {
  std::vector<int> count(64, 0);
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    const KeyedPermutation shuffle(8, Rng(seed, Purpose::row_order).key());
    for (uint64_t i = 0; i < 8; ++i) ++count[i * 8 + shuffle(i)];
  }
  for (const int times : count) EXPECT_NEAR(times, 500, 100);
}

TEST(BatchStream, LabelsAreWhatFollowsAndStayInTheirDocument) {
  ExampleStore store;
  store.add({10, 11, 12}, {-100, 11, 12});
  store.add({20, 21}, {20, 21});
  const auto rows = store.rows({{0, 1}});
  BatchPlan plan;
  plan.shuffled = false;
  const BatchStream stream(rows, plan);
  const Batch batch = stream.at(0, 0);
  EXPECT_EQ(batch.input_ids, (std::vector<int64_t>{10, 11, 12, 20, 21}));
  EXPECT_EQ(batch.labels, (std::vector<int64_t>{11, 12, -100, 21, -100}));
  EXPECT_EQ(batch.label_rows, (std::vector<int64_t>{0, 1, 3}));
  EXPECT_EQ(batch.document_ends, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(batch.sample_ids, (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(stream.label_tokens(0), 3);
  EXPECT_EQ(stream.tokens(0), 5);
}

TEST(BatchStream, AQuestionMayCloseTheAnswerBeforeIt) {
  ExampleStore store;
  store.closing_id = 2;
  store.add_words({TokenWord::make(5, false), TokenWord::make(6, true),
                   TokenWord::make(7, false) | TokenWord::kCloses, TokenWord::make(8, true)});
  const BatchStream stream(store.rows({{0}}), BatchPlan());
  EXPECT_EQ(stream.at(0, 0).labels, (std::vector<int64_t>{6, 2, 8, -100}));
}

// Seven rows, micro-batches of two, two processes, two micro-batches each: steps of eight, so one
// step. Rows 0 1 go to process 0, 2 3 to process 1, 4 5 to process 0, 6 to process 1.
TEST(BatchStream, MicroBatchesAreDealtOutInTurn) {
  ExampleStore store;
  for (int64_t i = 0; i < 7; ++i) store.add({i, i}, {i, i});
  const auto rows = store.one_each();
  BatchPlan plan{.rows_per_micro_batch = 2, .micro_batches_per_step = 2, .ranks = 2};
  plan.shuffled = false;
  const BatchStream first(rows, plan);
  plan.rank = 1;
  const BatchStream second(rows, plan);
  EXPECT_EQ(first.steps_per_epoch(), 1);
  EXPECT_EQ(first.micro_batches(0), 2);
  EXPECT_EQ(second.micro_batches(0), 2);
  EXPECT_EQ(first.at(0, 0).sample_ids, (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(second.at(0, 0).sample_ids, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(first.at(0, 1).sample_ids, (std::vector<uint64_t>{4, 5}));
  EXPECT_EQ(second.at(0, 1).sample_ids, (std::vector<uint64_t>{6}));
  EXPECT_EQ(second.rows_before(1), 7);
}

TEST(BatchStream, DropLastLeavesOutMicroBatchesThatAreNotFull) {
  ExampleStore store;
  for (int64_t i = 0; i < 7; ++i) store.add({i, i}, {i, i});
  BatchPlan plan{.rows_per_micro_batch = 2, .micro_batches_per_step = 2};
  plan.drop_last = true;
  const BatchStream stream(store.one_each(), plan);
  EXPECT_EQ(stream.rows(), 6);
  EXPECT_EQ(stream.steps_per_epoch(), 2);
  EXPECT_EQ(stream.micro_batches(1), 1);
  EXPECT_EQ(stream.rows_before(3), 10);
  plan.rows_per_micro_batch = 8;
  expect_refusal([&] { BatchStream(store.one_each(), plan); }, ExitCode::configuration,
                 "dataloader_drop_last");
}

TEST(BatchStream, EpochsHaveTheirOwnOrder) {
  ExampleStore store;
  for (int64_t i = 0; i < 50; ++i) store.add({i, i}, {i, i});
  const BatchStream stream(store.one_each(), {.rows_per_micro_batch = 50});
  EXPECT_NE(stream.sample_ids(0), stream.sample_ids(1));
  EXPECT_EQ(stream.at(1, 0).epoch, 1u);
}

TEST(BatchStream, GroupsHoldRowsOfLikeLength) {
  ExampleStore store;
  std::mt19937 random(3);
  std::vector<size_t> lengths;
  for (int i = 0; i < 400; ++i) {
    const size_t length = 2 + random() % 100;
    lengths.push_back(length);
    store.add(std::vector<int64_t>(length, 1), std::vector<int64_t>(length, 1));
  }
  BatchPlan plan{.rows_per_micro_batch = 4};
  plan.group_by_length = true;
  const BatchStream stream(store.one_each(), plan);
  size_t spread = 0;
  std::set<uint64_t> seen;
  for (int64_t step = 0; step < stream.steps_per_epoch(); ++step) {
    std::vector<size_t> of_step;
    for (const uint64_t id : stream.sample_ids(step)) {
      seen.insert(id);
      of_step.push_back(lengths[id]);
    }
    spread += *std::max_element(of_step.begin(), of_step.end()) -
              *std::min_element(of_step.begin(), of_step.end());
  }
  EXPECT_EQ(seen.size(), 400u);
  EXPECT_LT(spread / 100, 10u);  // of 100 at random: about 60
}

/// The concatenated micro-batches of all processes, in the order of the step.
std::vector<uint64_t> ids_of_step(const std::shared_ptr<const RowStore>& rows, BatchPlan plan,
                                  int64_t step, int64_t& labels) {
  std::vector<uint64_t> ids;
  for (int64_t m = 0; m < plan.micro_batches_per_step; ++m) {
    for (plan.rank = 0; plan.rank < plan.ranks; ++plan.rank) {
      const BatchStream stream(rows, plan);
      if (m >= stream.micro_batches(step)) continue;
      const Batch batch = stream.at(step, m);
      EXPECT_FALSE(batch.input_ids.empty());
      labels += static_cast<int64_t>(batch.label_rows.size());
      ids.insert(ids.end(), batch.sample_ids.begin(), batch.sample_ids.end());
    }
  }
  return ids;
}

// 300 random cases: every row exactly once an epoch, the same sequence however a step is cut into
// processes and micro-batches, also when the cut changes in mid-epoch.
TEST(BatchStream, SequenceDoesNotDependOnTheCut) {
  std::mt19937 random(20);
  for (int round = 0; round < 300; ++round) {
    ExampleStore store;
    const int64_t count = 1 + random() % 60;
    for (int64_t i = 0; i < count; ++i) {
      const size_t length = 2 + random() % 5;
      store.add(std::vector<int64_t>(length, i), std::vector<int64_t>(length, i));
    }
    std::vector<std::vector<uint64_t>> packed;
    for (uint64_t i = 0; i < static_cast<uint64_t>(count);) {
      packed.emplace_back();
      for (size_t n = 1 + random() % 3; n > 0 && i < static_cast<uint64_t>(count); --n)
        packed.back().push_back(i++);
    }
    const auto rows = random() % 2 == 0 ? store.one_each() : store.rows(packed);
    const int64_t global = int64_t{1} << random() % 5;
    BatchPlan whole{.rows_per_micro_batch = global, .seed = random()};
    whole.shuffled = random() % 4 != 0;
    whole.group_by_length = random() % 4 == 0;
    const BatchStream reference(rows, whole);
    std::multiset<uint64_t> seen;
    for (int64_t step = 0; step < 2 * reference.steps_per_epoch(); ++step) {
      BatchPlan cut = whole;
      cut.ranks = int64_t{1} << random() % 4;
      while (cut.ranks > global) cut.ranks /= 2;
      cut.rows_per_micro_batch = 1;
      while (cut.ranks * cut.rows_per_micro_batch * 2 <= global && random() % 2 == 0)
        cut.rows_per_micro_batch *= 2;
      cut.micro_batches_per_step = global / cut.ranks / cut.rows_per_micro_batch;
      int64_t labels = 0;
      const std::vector<uint64_t> ids = ids_of_step(rows, cut, step, labels);
      ASSERT_EQ(ids, reference.sample_ids(step)) << "round " << round << " step " << step;
      ASSERT_EQ(labels, BatchStream(rows, cut).label_tokens(step));
      seen.insert(ids.begin(), ids.end());
    }
    ASSERT_EQ(seen.size(), static_cast<size_t>(2 * count));
    for (int64_t i = 0; i < count; ++i) ASSERT_EQ(seen.count(static_cast<uint64_t>(i)), 2u);
  }
}

}  // namespace
}  // namespace isogrid
