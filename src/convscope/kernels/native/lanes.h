// Vectors of L numbers, loaded from and stored to float32 or bfloat16.
//
// GCC's and Clang's vector extensions: the same source becomes AVX-512, AVX2, SSE or
// NEON by the flags that it is compiled with. L = 1 is a plain number, so that what a
// vector does not reach is written by the same lines.
#pragma once

#include <stdint.h>
#include <string.h>

namespace {

struct Half {  // bfloat16: the upper half of a float32
  uint16_t bits;
};

template <int L>
struct Lanes {
  typedef float F __attribute__((vector_size(4 * L)));
  typedef int32_t I __attribute__((vector_size(4 * L)));
  typedef uint32_t U __attribute__((vector_size(4 * L)));
  typedef uint16_t H __attribute__((vector_size(2 * L)));
  typedef uint8_t B __attribute__((vector_size(L)));
  template <class To, class From>
  static To convert(From x) {
    return __builtin_convertvector(x, To);
  }
};

template <>
struct Lanes<1> {
  typedef float F;
  typedef int32_t I;
  typedef uint32_t U;
  typedef uint16_t H;
  typedef uint8_t B;
  template <class To, class From>
  static To convert(From x) {
    return static_cast<To>(x);
  }
};

template <class To, class From>
inline To bits_of(From x) {
  static_assert(sizeof(To) == sizeof(From), "a view of the same bits");
  To out;
  memcpy(&out, &x, sizeof(out));
  return out;
}

template <class V>
inline V load_raw(const void *from) {
  V out;
  memcpy(&out, from, sizeof(out));
  return out;
}

// In two steps: GCC 12 takes a vector apart to widen by four at once.
template <int L>
inline typename Lanes<L>::I load_bytes(const uint8_t *from) {
  typedef Lanes<L> V;
  const auto low = V::template convert<typename V::H>(load_raw<typename V::B>(from));
  return V::template convert<typename V::I>(low);
}

template <int L>
inline typename Lanes<L>::F load(const float *from) {
  return load_raw<typename Lanes<L>::F>(from);
}

template <int L>
inline typename Lanes<L>::F load(const Half *from) {
  typedef Lanes<L> V;
  const auto low = load_raw<typename V::H>(from);
  const typename V::U wide = V::template convert<typename V::U>(low);
  return bits_of<typename V::F>(static_cast<typename V::U>(wide << 16));
}

template <int L>
inline void store(float *to, typename Lanes<L>::F x) {
  memcpy(to, &x, sizeof(x));
}

// Rounds to nearest, ties to even; a NaN stays one.
template <int L>
inline void store(Half *to, typename Lanes<L>::F x) {
  typedef Lanes<L> V;
  const auto u = bits_of<typename V::U>(x);
  const typename V::U rounded = (u + (0x7fffu + ((u >> 16) & 1u))) >> 16;
  const typename V::U quiet = (u >> 16) | 0x40u;
  const auto kept =
      V::template convert<typename V::H>(static_cast<typename V::U>(x != x ? quiet : rounded));
  memcpy(to, &kept, sizeof(kept));
}

// exp(x) for x <= 0, to two units in the last place; 0 below -87.
template <int L>
inline typename Lanes<L>::F exp_of_negative(typename Lanes<L>::F x) {
  typedef Lanes<L> V;
  typedef typename V::F F;
  const F low = F{} - 87.f;
  const F kept = x < low ? low : x;
  const F magic = F{} + 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
  const F n = (kept * 1.44269504f + magic) - magic;
  const F r = (kept - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  F p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  const auto exponent = bits_of<typename V::U>(V::template convert<typename V::I>(n));
  const auto scaled = bits_of<typename V::U>(p) + (exponent << 23);
  return x < low ? F{} : bits_of<F>(static_cast<typename V::U>(scaled));
}

}  // namespace
