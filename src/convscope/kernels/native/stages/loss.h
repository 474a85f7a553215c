// Softmax and cross-entropy of one block: logits[class][16].
#pragma once
#include <math.h>

#include "stages/plan.h"

namespace convscope {

struct Targets {
  const int64_t *classes;  // one per image; or NULL, and
  const float *shares;     // shares[n][class]
  float smoothing;         // of every image's share, spread over all classes

  Targets from(int64_t image, int64_t count) const {
    return {classes ? classes + image : nullptr, shares ? shares + image * count : nullptr,
            smoothing};
  }
};

// loss = -sum_k share_k log p_k with p = softmax(logits), in which log p_k =
// logit_k - most - log sum_k exp(logit_k - most). The gradient is p_k sum_k share_k -
// share_k, times `scale`; 0 for the lanes without an image. Returns the sum of the losses.
inline double cross_entropy(const float *logits, int64_t count, const Targets &targets, int images,
                            float scale, float *gradient) {
  double total = 0;
  for (int first = 0; first < images; first += LANES) {
    Lanes most = load(logits + first);
    for (int64_t k = 1; k < count; ++k) {
      const Lanes z = load(logits + k * IMAGES + first);
      most = (z > most) | (z != z) ? z : most;
    }
    Lanes parts{}, spread{};
    for (int64_t k = 0; k < count; ++k) {
      const Lanes above = load(logits + k * IMAGES + first) - most;
      const Lanes part = exponential(above);
      parts += part;
      if (targets.smoothing > 0) spread += above;
      store(gradient + k * IMAGES + first, part);
    }
    const float even = targets.smoothing / float(count), own = 1.f - targets.smoothing;
    Lanes taken{}, shared{};  // sum of share_k * (logit_k - most), and of share_k
    for (int lane = 0; lane < LANES && first + lane < images; ++lane) {
      const float *logit = logits + first + lane;
      if (targets.classes) {
        taken[lane] = logit[targets.classes[first + lane] * IMAGES] - most[lane];
        shared[lane] = 1;
      } else {
        const float *shares = targets.shares + (first + lane) * count;
        for (int64_t k = 0; k < count; ++k) {
          taken[lane] += shares[k] * (logit[k * IMAGES] - most[lane]);
          shared[lane] += shares[k];
        }
      }
    }
    if (targets.smoothing > 0) {
      taken = own * taken + even * spread;
      shared = own * shared + targets.smoothing;
    }
    for (int lane = 0; lane < LANES && first + lane < images; ++lane)
      total += double(shared[lane] * logf(parts[lane]) - taken[lane]);

    Whole used;
    for (int lane = 0; lane < LANES; ++lane) used[lane] = -(first + lane < images);
    const Lanes factor = shared * scale / parts;
    for (int64_t k = 0; k < count; ++k) {
      float *to = gradient + k * IMAGES + first;
      store(to, used ? load(to) * factor - even * scale : Lanes{});
    }
    for (int lane = 0; lane < LANES && first + lane < images; ++lane) {
      float *to = gradient + first + lane;
      if (targets.classes) {
        to[targets.classes[first + lane] * IMAGES] -= own * scale;
      } else {
        const float *shares = targets.shares + (first + lane) * count;
        for (int64_t k = 0; k < count; ++k) to[k * IMAGES] -= own * scale * shares[k];
      }
    }
  }
  for (int first = int(ceil_div(images, LANES)) * LANES; first < IMAGES; first += LANES)
    for (int64_t k = 0; k < count; ++k) store(gradient + k * IMAGES + first, Lanes{});
  return total;
}

}  // namespace convscope
