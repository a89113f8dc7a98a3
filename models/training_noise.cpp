#include "models/training_noise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "kernels/dropout.h"
#include "models/cpu_rows.h"

namespace isogrid {
namespace {

at::Tensor token_keys(uint64_t seed, Purpose purpose, uint64_t epoch,
                      const std::vector<int64_t>& document_ends,
                      const std::vector<uint64_t>& sample_ids) {
  const int64_t tokens = document_ends.empty() ? 0 : document_ends.back();
  at::Tensor keys = at::empty({tokens, 2}, at::kInt);
  int32_t* out = keys.mutable_data_ptr<int32_t>();
  int64_t token = 0;
  for (size_t document = 0; document < document_ends.size(); ++document) {
    const PhiloxKey sample = Rng(seed, purpose, {epoch, sample_ids[document]}).key();
    for (uint64_t position = 0; token < document_ends[document]; ++token, ++position) {
      const PhiloxKey key = Rng::below(sample, position);
      *out++ = static_cast<int32_t>(key[0]);
      *out++ = static_cast<int32_t>(key[1]);
    }
  }
  return keys;
}

kernels::Element noise_element(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) return kernels::Element::bf16;
  return x.scalar_type() == at::kHalf ? kernels::Element::f16 : kernels::Element::f32;
}

/// The tokens' keys for one use, from those of the batch.
std::vector<kernels::TokenKey> stream_keys(const at::Tensor& keys, uint64_t stream) {
  std::vector<kernels::TokenKey> own(static_cast<size_t>(keys.size(0)));
  const int32_t* words = keys.const_data_ptr<int32_t>();
  for (kernels::TokenKey& key : own) {
    const PhiloxKey below =
        Rng::below({static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[1])}, stream);
    key = {{below[0], below[1]}};
    words += 2;
  }
  return own;
}

/// body(element, x, y, first row, last row), on the CPU: draws are made there for every device.
template <typename Body>
at::Tensor by_rows(const at::Tensor& x, const Body& body) {
  const bool wide = x.scalar_type() == at::kDouble;
  const at::Tensor source = (wide ? x.to(at::kFloat) : x).cpu().contiguous();
  at::Tensor y = at::empty_like(source);
  const kernels::Element element = noise_element(source);
  for_cpu_rows(x.size(0), x.size(1), [&](int64_t first, int64_t last) {
    body(element, source.const_data_ptr(), y.mutable_data_ptr(), first, last);
  });
  return y.to(x.options());
}

}  // namespace

TrainingNoise training_noise(const NoiseSettings& settings, uint64_t epoch,
                             const std::vector<int64_t>& document_ends,
                             const std::vector<uint64_t>& sample_ids, int64_t hidden) {
  TrainingNoise noise;
  noise.dropout_keys =
      token_keys(settings.seed, Purpose::dropout, epoch, document_ends, sample_ids);
  if (settings.neftune_alpha <= 0) return noise;
  noise.embedding_keys =
      token_keys(settings.seed, Purpose::embedding_noise, epoch, document_ends, sample_ids);
  noise.amplitude = at::empty({noise.dropout_keys.size(0)}, at::kFloat);
  float* amplitude = noise.amplitude.mutable_data_ptr<float>();
  int64_t begin = 0;
  for (const int64_t end : document_ends) {
    const double size = static_cast<double>((end - begin) * hidden);
    std::fill(amplitude + begin, amplitude + end,
              static_cast<float>(settings.neftune_alpha / std::sqrt(size)));
    begin = end;
  }
  return noise;
}

at::Tensor dropout(const at::Tensor& x, const TrainingNoise& noise, double p, uint64_t stream) {
  const std::vector<kernels::TokenKey> keys = stream_keys(noise.dropout_keys, stream);
  return by_rows(x, [&](kernels::Element element, const void* in, void* out, int64_t first,
                        int64_t last) {
    kernels::dropout_kernels().dropout(element, in, out, keys.data(), p, first, last, x.size(1));
  });
}

at::Tensor with_embedding_noise(const at::Tensor& x, const TrainingNoise& noise) {
  const std::vector<kernels::TokenKey> keys = stream_keys(noise.embedding_keys, 0);
  return by_rows(
      x, [&](kernels::Element element, const void* in, void* out, int64_t first, int64_t last) {
        kernels::dropout_kernels().add_noise(element, in, out, keys.data(),
                                             noise.amplitude.const_data_ptr<float>(), first, last,
                                             x.size(1));
      });
}

}  // namespace isogrid
