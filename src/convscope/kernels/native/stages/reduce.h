// The threads' sums of gradients added up in a fixed order, in the order of the parameters.
#pragma once
#include "stages/space.h"

namespace convscope {

inline void reduce_weight(const Stage &stage, const Call &call, float *scratch, int64_t step,
                          int64_t o, float *to) {
  const convscope_stage &s = stage.given;
  for (int thread = 0; thread < call.threads; ++thread) {
    const float *sums =
        Space(call, scratch + thread * step).sums + stage.weight_sum + o * stage.patch;
    if (s.kernel_height * s.kernel_width == 1) {
      for (int64_t c = 0; c < s.in_channels; ++c) to[c] = thread ? to[c] + sums[c] : sums[c];
      continue;
    }
    float *out = to;
    for (int64_t c = 0; c < s.in_channels; ++c)
      for (int64_t i = 0; i < s.kernel_height; ++i)
        for (int64_t j = 0; j < s.kernel_width; ++j, ++out) {
          const float sum = sums[i * stage.patch_row + j * s.in_channels + c];
          *out = thread ? *out + sum : sum;
        }
  }
}

inline float reduce_bias(const Stage &stage, const Call &call, float *scratch, int64_t step,
                         int64_t o) {
  float total = 0;
  for (int thread = 0; thread < call.threads; ++thread) {
    const float *sums = Space(call, scratch + thread * step).sums + stage.bias_sum + o * IMAGES;
    for (int lane = 0; lane < IMAGES; ++lane) total += sums[lane];
  }
  return total;
}

// Thread `thread` adds up its share of every stage's output channels.
inline void reduce(const Call &call, float *scratch, int thread, float *const *grad_parameters) {
  const int64_t step = Space(call, nullptr).size;
  for (int64_t n = 0; n < call.plan.count; ++n) {
    const Stage &stage = call.plan.stages[n];
    float *const weight = grad_parameters[2 * n], *const bias = grad_parameters[2 * n + 1];
    const int64_t channels = stage.given.out_channels;
    const int64_t end = channels * (thread + 1) / call.threads;
    for (int64_t o = channels * thread / call.threads; o < end; ++o) {
      if (weight) reduce_weight(stage, call, scratch, step, o, weight + o * stage.tap_count());
      if (bias && stage.given.has_bias) bias[o] = reduce_bias(stage, call, scratch, step, o);
    }
  }
}

}  // namespace convscope
