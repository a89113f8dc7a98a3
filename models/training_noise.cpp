#include "models/training_noise.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

#include "core/rng.h"

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

PhiloxKey key_of(const at::Tensor& keys, int64_t token) {
  const int32_t* words = keys.const_data_ptr<int32_t>() + 2 * token;
  return {static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[1])};
}

/// y[token, i] = change(x[token, i], draw number i of the token's stream, token).
template <typename Change>
at::Tensor changed_by_draws(const at::Tensor& x, const at::Tensor& keys, uint64_t stream,
                            const Change& change) {
  const at::Tensor source = x.cpu().contiguous();
  at::Tensor y = at::empty_like(source);
  const int64_t columns = x.size(1);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "training noise", [&] {
    const scalar_t* in = source.const_data_ptr<scalar_t>();
    scalar_t* out = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, x.size(0), 16, [&](int64_t first, int64_t last) {
      for (int64_t token = first; token < last; ++token) {
        const PhiloxKey key = Rng::below(key_of(keys, token), stream);
        PhiloxBlock block{};
        for (int64_t i = 0; i < columns; ++i) {
          if (i % 4 == 0) block = philox4x32({static_cast<uint32_t>(i / 4), 0, 0, 0}, key);
          out[token * columns + i] = static_cast<scalar_t>(
              change(static_cast<float>(in[token * columns + i]), block[i % 4], token));
        }
      }
    });
  });
  return y.to(x.device());
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
  // Kept where the draw, a multiple of 2^-32, is at least p.
  const auto threshold = static_cast<uint32_t>(std::min(p * 0x1p32, 0x1p32 - 1));
  const float factor = static_cast<float>(1.0 / (1.0 - p));
  return changed_by_draws(x, noise.dropout_keys, stream, [=](float value, uint32_t draw, int64_t) {
    return draw >= threshold ? value * factor : 0.0f;
  });
}

at::Tensor with_embedding_noise(const at::Tensor& x, const TrainingNoise& noise) {
  const float* amplitude = noise.amplitude.const_data_ptr<float>();
  return changed_by_draws(x, noise.embedding_keys, 0,
                          [=](float value, uint32_t draw, int64_t token) {
                            const float unit = static_cast<float>(draw >> 8) * 0x1p-23f - 1.0f;
                            return value + amplitude[token] * unit;
                          });
}

}  // namespace isogrid
