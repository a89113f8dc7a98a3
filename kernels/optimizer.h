#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Trained numbers in flat buffers. A kernel works on elements [first, last) of all of them, so a
/// call may be shared out to threads and every tensor may have its own settings.
struct Trained {
  float* master = nullptr;         // null: `working` itself is trained, rounded after each update
  void* working = nullptr;         // the rounded copy the model computes with; null: none
  Element element = Element::f32;  // of `working`: f32, bf16 or f16
  const float* gradient = nullptr;
  float gradient_scale = 1.0f;  // multiplies the gradient as it is read: clipping, loss scaling
};

/// torch.optim.AdamW: p -= lr decay p, then p -= lr m / correction1 / (sqrt(v / correction2) +
/// eps).
struct AdamwSettings {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double correction1 = 1, correction2 = 1;  // 1 - beta^step, steps counted from one
};

/// p -= lr decay p, then p -= lr sign(beta1 m + (1 - beta1) g); m moves to g by 1 - beta2.
struct LionSettings {
  double learning_rate = 0;
  double beta1 = 0.9, beta2 = 0.99, weight_decay = 0;
};

/// torch.optim.SGD: the decay joins the gradient.
struct SgdSettings {
  double learning_rate = 0;
  double momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false;
  bool first_step = false;  // the momentum starts as the gradient
};

/// A moment in eight bits: code[i] stands for a value of its code book times scale[i / 256].
constexpr int64_t kMomentBlock = 256;
struct CodedMoment {
  uint8_t* code = nullptr;
  float* scale = nullptr;  // the largest magnitude of the block
};
/// Ascending values of a code: of both signs for the first moment, not negative for the second.
/// The code of zero, with which moments begin, is zero_code(with_sign).
const float* moment_code(bool with_sign);
constexpr uint8_t zero_code(bool with_sign) { return with_sign ? 127 : 0; }

/// sum_of_squares cuts at multiples of this, so that the number of threads changes no bit.
constexpr int64_t kSumChunk = 1 << 16;

struct OptimizerKernels {
  void (*adamw)(const Trained& what, const AdamwSettings& how, float* first_moment,
                float* second_moment, int64_t first, int64_t last);
  /// bitsandbytes' blockwise kernel: the update comes first and the decay after it. `first` is a
  /// multiple of kMomentBlock; `last` too, or the end of the tensor.
  void (*adamw_coded)(const Trained& what, const AdamwSettings& how,
                      const CodedMoment& first_moment, const CodedMoment& second_moment,
                      int64_t first, int64_t last);
  void (*lion)(const Trained& what, const LionSettings& how, float* momentum, int64_t first,
               int64_t last);
  /// momentum may be null when how.momentum is zero.
  void (*sgd)(const Trained& what, const SgdSettings& how, float* momentum, int64_t first,
              int64_t last);

  /// onto += from (f32, bf16 or f16)
  void (*accumulate)(Element element, const void* from, float* onto, int64_t first, int64_t last);
  void (*scale)(float* x, float factor, int64_t first, int64_t last);
  /// average += share * (value - average)
  void (*blend)(float* average, const float* value, float share, int64_t first, int64_t last);
  /// sums[i] = the sum of squares of chunk i of x[count], for chunks [first, last). Not finite
  /// where an element is not.
  void (*sum_of_squares)(const float* x, int64_t count, double* sums, int64_t first, int64_t last);
};

const OptimizerKernels& optimizer_kernels();
/// A given table, for tests; falls back to baseline where the processor lacks it.
const OptimizerKernels& optimizer_kernels(Isa isa);

}  // namespace isogrid::kernels
