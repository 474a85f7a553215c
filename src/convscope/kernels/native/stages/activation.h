// The functions between convolution and pooling, and their derivatives, a vector at once.
#pragma once
#include <initializer_list>

#include "convscope.h"
#include "stages/vector.h"

namespace convscope {

// exp(x) = 2^n exp(r) with n = round(x / ln 2), so that |r| <= ln(2) / 2.
struct Power {
  Lanes fraction;  // exp(r) - 1
  Lanes scale;     // 2^n
};

inline Power power(Lanes x) {
  const Lanes rounder = all(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer
  const Lanes shifted = x * 1.442695041f + rounder;
  const Lanes n = shifted - rounder;
  const Lanes r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // ln 2 in two parts
  Lanes p = all(1.f / 5040);  // Taylor: the first term left out is below 6e-9
  for (float c : {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2, 1.f}) p = p * r + c;
  return {p * r, floats((bits(shifted) - bits(rounder) + 127) << 23)};
}

// For x <= 88; 0 below -87, where a float's normal range ends.
inline Lanes exponential(Lanes x) {
  const Power e = power(x < -87.f ? all(-87.f) : x);
  return x < -87.f ? all(0.f) : e.fraction * e.scale + e.scale;
}

// tanh |x| = m / (m + 2) with m = exp(2 |x|) - 1, which keeps its precision near 0.
inline Lanes hyperbolic_tangent(Lanes x) {
  const Lanes size = x < 0.f ? -x : x;
  const Power e = power(size > 10.f ? all(20.f) : 2.f * size);
  const Lanes m = e.fraction * e.scale + (e.scale - 1.f);
  const Lanes y = m / (m + 2.f);
  return x < 0.f ? -y : x == 0.f ? x : y;
}

inline Lanes logistic(Lanes x) {
  const Lanes e = exponential(x < -87.f ? x : x > 87.f ? all(-87.f) : x < 0.f ? x : -x);
  return (x < 0.f ? e : all(1.f)) / (1.f + e);  // exp of what is negative: no overflow
}

// The normal distribution below x, and its density.
struct Normal {
  Lanes below, density;
};

// below(-|x|) = exp(-x^2/2) t P(t), t = 1 / (1 + |x|/4): P is our least-squares fit at
// Chebyshev nodes, 4e-7 off at most, relatively.
inline Normal normal(Lanes x) {
  const Lanes size = x < 0.f ? -x : x;
  const Lanes t = 1.f / (1.f + size * 0.25f);
  Lanes p = all(0.0200627353f);
  for (float c : {-0.0820237845f, 0.0975288525f, -0.0334529467f, 0.0645958036f, 0.0587071702f,
                  0.0816472843f, 0.0934627876f, 0.0997365415f, 0.0997355655f})
    p = p * t + c;
  const Lanes bell = exponential(-0.5f * size * size);
  const Lanes tail = bell * t * p;
  return {x < 0.f ? tail : 1.f - tail, bell * 0.3989422804f};
}

// Whether the largest value of a window is the one with the largest input, so that the
// maximum may be taken first, and whether the derivative follows from the value alone.
constexpr bool rises(int64_t kind) {
  return kind != CONVSCOPE_ABS && kind != CONVSCOPE_GELU;
}

inline Lanes activate(int64_t kind, Lanes z) {
  switch (kind) {
    case CONVSCOPE_RELU: return z <= 0.f ? all(0.f) : z;  // NaN stays
    case CONVSCOPE_TANH: return hyperbolic_tangent(z);
    case CONVSCOPE_ABS: return z < 0.f ? -z : z;
    case CONVSCOPE_GELU: return z * normal(z).below;
    case CONVSCOPE_SIGMOID: return logistic(z);
    default: return z;
  }
}

// The derivative at z, where y = activate(z).
inline Lanes slope(int64_t kind, Lanes z, Lanes y) {
  switch (kind) {
    case CONVSCOPE_RELU: return y <= 0.f ? all(0.f) : all(1.f);
    case CONVSCOPE_TANH: return 1.f - y * y;
    case CONVSCOPE_ABS: return z < 0.f ? all(-1.f) : z > 0.f ? all(1.f) : z - z;
    case CONVSCOPE_GELU: {
      const Normal at = normal(z);
      return at.below + z * at.density;
    }
    case CONVSCOPE_SIGMOID: return y * (1.f - y);
    default: return all(1.f);
  }
}

}  // namespace convscope
