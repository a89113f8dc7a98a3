#pragma once
#include <string>

#include "trainer/answer_plan.h"
#include "trainer/commands/kd_documents.h"
#include "trainer/open_model.h"

namespace isogrid {

/// The tokens of a document before its last stretch of labels: what a teacher is asked. A document
/// that begins with labels has none.
int64_t prompt_tokens(KdDocument document);

/// How a teacher answers, and for which folder.
struct AnswerJob {
  std::string folder;  // of the cache
  const CausalLm& teacher;
  std::string teacher_sha256;
  const TextCoder& coder;
  const AnswerPlan& plan;
  int64_t longest = 0;     // prompt and answer together
  int64_t vocabulary = 0;  // an answer ends before the first token beyond it
  int64_t batch = 8;       // prompts that are answered together; makes no difference
};

/// The documents with answers of the teacher in place of their last ones, and labels nowhere else.
/// Each is drawn from a stream of its own, so neither the batch nor an interruption nor other
/// processes at work in the folder change it. Prompts that leave no room for an answer are left
/// out. Where the folder holds a cache already its documents are these, or it is refused (73).
KdDocuments answered(const AnswerJob& job, const KdDocuments& documents, const DataHooks& hooks);

/// What answered() leaves in the folder until its documents are in documents.rows.
void remove_answers(const std::string& folder);

}  // namespace isogrid
