#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/kd_cache.h"
#include "data/rows.h"

namespace isogrid {

/// Which document of a cache each piece of some rows is.
class TeacherRows {
 public:
  TeacherRows(std::shared_ptr<const KdCache> cache, std::vector<int64_t> document_of_piece)
      : cache_(std::move(cache)), document_of_piece_(std::move(document_of_piece)) {}

  const KdCache& cache() const { return *cache_; }
  /// Lays what the teacher holds likely in the piece behind that of the batch.
  void append(size_t piece, TeacherTokens& to) const;

 private:
  std::shared_ptr<const KdCache> cache_;
  std::vector<int64_t> document_of_piece_;  // -1: nothing in it has a label
};

/// The rows with their teacher. Documents the cache does not hold are refused (78), naming the
/// first; `what` names the rows in messages, `settings` are those the rows were made with.
std::shared_ptr<const RowStore> taught(const RowStore& rows,
                                       const std::shared_ptr<const KdCache>& cache,
                                       const std::string& what,
                                       const std::map<std::string, std::string>& settings);

/// What decides how text becomes documents, for people: what a message compares.
std::map<std::string, std::string> kd_data_settings(const RunConfig& config,
                                                    const ChatTemplate& layout);

/// The data of a run. With `kd_cache`: the rows of `dataset` with their teacher, or, where no
/// dataset is named, the cache's own documents, the held-out ones to evaluate on. A cache made with
/// another tokenizer, or without what kd_loss needs, is refused (78).
PreparedData prepare_run_data(const RunConfig& config, const TextCoder& coder,
                              const ChatTemplate& layout, const DataHooks& hooks = {});

/// Refuses (78) a teacher that names tokens a model of this vocabulary does not have.
void check_teacher_ids(const RowStore& rows, int64_t vocabulary);

}  // namespace isogrid
