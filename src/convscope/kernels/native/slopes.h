// What a number becomes after a layer, and the slope there.
#pragma once

#include "convscope.h"
#include "lanes.h"

namespace {

// Phi(z), the normal distribution, and phi(z), its density.
//
// Abramowitz & Stegun 7.1.26: erfc(x) = poly(t) exp(-x^2), t = 1 / (1 + p x), off by
// 1.5e-7 at most; the exponential serves the density too.
template <int L>
struct Normal {
  typedef typename Lanes<L>::F F;
  F below, density;
  explicit Normal(F z) {
    const F size = z < 0.f ? -z : z;
    const F bell = exp_of_negative<L>(z * z * -0.5f);
    const F t = 1.f / (size * (0.3275911f * 0.70710678f) + 1.f);
    F p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const F tail = p * t * bell * 0.5f;
    below = z < 0.f ? tail : 1.f - tail;
    density = bell * 0.39894228f;
  }
};

// z between -most and most; NaN stays.
template <int L>
inline typename Lanes<L>::F within(typename Lanes<L>::F z, float most) {
  typedef typename Lanes<L>::F F;
  const F high = F{} + most, low = F{} - most;
  const F below = z > high ? high : z;
  return below < low ? low : below;
}

// Phi(z) for bfloat16: z Phi(z) is off by 8e-5 at most, a 25th of its half unit at 1.
template <int L>
inline typename Lanes<L>::F rough_normal(typename Lanes<L>::F z) {
  typedef typename Lanes<L>::F F;
  const F c = within<L>(z, 4.2f), u = c * c;
  F p = u * -9.01752228e-10f + 7.94133257e-8f;
  p = p * u - 3.03792945e-6f;
  p = p * u + 6.68906650e-5f;
  p = p * u - 9.50657239e-4f;
  p = p * u + 9.29822773e-3f;
  p = p * u - 6.55281991e-2f;
  p = p * u + 3.98465872e-1f;
  const F below = p * c + 0.5f;
  return z < -4.2f ? F{} : below;
}

// Phi(z) + z phi(z) for bfloat16, off by 2.3e-4 at most.
template <int L>
inline typename Lanes<L>::F rough_slope(typename Lanes<L>::F z) {
  typedef typename Lanes<L>::F F;
  const F c = within<L>(z, 4.4f), u = c * c;
  F p = u * 4.74725981e-10f - 4.71602242e-8f;
  p = p * u + 2.03025047e-6f;
  p = p * u - 4.99209527e-5f;
  p = p * u + 7.78945338e-4f;
  p = p * u - 8.09867587e-3f;
  p = p * u + 5.68945371e-2f;
  p = p * u - 2.63075739e-1f;
  p = p * u + 7.97046721e-1f;
  return p * c + 0.5f;
}

template <class T>
constexpr bool is_half = sizeof(T) == 2;

template <class T, int act, int L>
inline typename Lanes<L>::F activate(typename Lanes<L>::F z) {
  typedef typename Lanes<L>::F F;
  if (act == CONVSCOPE_RELU) return z <= 0.f ? F{} : z;  // NaN stays
  if (act == CONVSCOPE_GELU) return is_half<T> ? z * rough_normal<L>(z) : z * Normal<L>(z).below;
  return z;
}

// gradient * activation'(z)
template <class T, int act, int L>
inline typename Lanes<L>::F slope(typename Lanes<L>::F z, typename Lanes<L>::F gradient) {
  typedef typename Lanes<L>::F F;
  if (act == CONVSCOPE_RELU) return z <= 0.f ? F{} : gradient;
  if (act == CONVSCOPE_GELU) {
    if (is_half<T>) return gradient * rough_slope<L>(z);
    const Normal<L> normal(z);
    return gradient * (normal.below + z * normal.density);
  }
  return gradient;
}

}  // namespace
