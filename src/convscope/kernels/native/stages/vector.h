// Vectors of the machine's width. One lane holds one image in the kernels that say so, and
// one of several neighboring numbers in the others.
#pragma once
#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace convscope {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

constexpr int IMAGES = 16;  // of one block, whatever the machine: LANES divides it

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef float HalfLanes __attribute__((vector_size(2 * LANES)));
typedef int32_t Whole __attribute__((vector_size(4 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

// The same, anywhere in memory.
typedef float LooseLanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t LooseWhole __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t LooseBytes __attribute__((vector_size(LANES), aligned(1), may_alias));

inline Lanes load(const float *from) {
  return *reinterpret_cast<const LooseLanes *>(from);
}
inline void store(float *to, Lanes value) {
  *reinterpret_cast<LooseLanes *>(to) = value;
}
inline Lanes all(float value) {
  return value - Lanes{};
}  // -0.0 stays -0.0
inline Whole all(int32_t value) {
  return value + Whole{};
}

// Whole numbers below 256, one byte each in memory. (Compilers convert these one by one.)
inline Whole load_bytes(const uint8_t *from) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
  return Whole(_mm512_maskz_cvtepu8_epi32(0xffff, bytes));
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(from));
  return Whole(_mm256_cvtepu8_epi32(bytes));
#else
  return __builtin_convertvector(Bytes(*reinterpret_cast<const LooseBytes *>(from)), Whole);
#endif
}
inline void store_bytes(uint8_t *to, Whole value) {
#if defined(__AVX512F__)
  const __m128i bytes = _mm512_maskz_cvtepi32_epi8(0xffff, __m512i(value));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), bytes);
#elif defined(__AVX2__)
  const __m256i by_halves = _mm256_shuffle_epi8(
      __m256i(value), _mm256_set1_epi32(0x0c080400));  // four bytes to the front of each
  const int64_t low = _mm256_extract_epi32(by_halves, 0) & 0xffffffffll;
  const int64_t high = _mm256_extract_epi32(by_halves, 4);
  *reinterpret_cast<int64_t __attribute__((aligned(1), may_alias)) *>(to) = high << 32 | low;
#else
  *reinterpret_cast<LooseBytes *>(to) = __builtin_convertvector(value, Bytes);
#endif
}

inline Whole bits(Lanes value) {
  return (Whole)value;
}
inline Lanes floats(Whole value) {
  return (Lanes)value;
}

inline float sum(Lanes value) {
  float total = 0;
  for (int lane = 0; lane < LANES; ++lane) total += value[lane];
  return total;
}

}  // namespace convscope
