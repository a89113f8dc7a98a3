// parity_gradients MODEL IDS.json OUTPUT.safetensors: the documents of IDS laid end to end, their
// mean next-token loss (printed), and its gradient with respect to every parameter, in float32.
#include <ATen/ops/empty.h>

#include <cstdio>

#include "core/json.h"
#include "core/tensor_file.h"
#include "models/weights.h"
#include "trainer/loss/next_token_loss.h"

namespace isogrid {
namespace {

struct Documents {
  std::vector<int64_t> ids, ends, rows, labels;
};

Documents read_documents(const std::string& file) {
  Documents documents;
  for (const Json& list : read_json_file(file)) {
    for (size_t i = 0; i < list.size(); ++i) {
      if (i + 1 < list.size()) {
        documents.rows.push_back(static_cast<int64_t>(documents.ids.size()));
        documents.labels.push_back(list[i + 1].get<int64_t>());
      }
      documents.ids.push_back(list[i].get<int64_t>());
    }
    documents.ends.push_back(static_cast<int64_t>(documents.ids.size()));
  }
  return documents;
}

at::Tensor as_tensor(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

void write_gradients(const std::string& folder, const std::string& ids, const std::string& to) {
  CausalLm model = load_model(open_model_folder(folder), {.compute = at::kFloat});
  model.visit([](const TensorSlot& slot) { slot.tensor->requires_grad_(); });
  const Documents documents = read_documents(ids);
  const TokenLayout layout = lay_out(model.config, documents.ends, {}, at::kCPU);
  const at::Tensor hidden = forward_hidden(model, as_tensor(documents.ids), layout);
  const at::Tensor loss =
      next_token_loss(hidden, *model.head, as_tensor(documents.rows), as_tensor(documents.labels))
          .mean();
  loss.backward();
  std::printf("%.9g\n", loss.item<double>());
  std::vector<NamedTensor> gradients;
  model.visit([&](const TensorSlot& slot) {
    gradients.push_back({slot.name, slot.tensor->grad()});
  });
  write_tensors(to, gradients);
}

}  // namespace
}  // namespace isogrid

int main(int, char** words) {
  isogrid::write_gradients(words[1], words[2], words[3]);
  return 0;
}
