// The inner loop of everything: products of images and weights, in registers.
//
// A tile is P places times O output channels. For each tap the P inputs and the O weights
// meet in P*O multiply-adds; nothing is stored before the last tap.
#pragma once
#include <type_traits>

#include "stages/plan.h"

namespace convscope {

struct Sweep {
  const float *in;      // the first tap of the first place, channel 0
  const int32_t *taps;  // offsets from there
  int64_t tap_count;
  const float *weight;  // weight[o * weight_out + t * weight_tap]
  int64_t weight_out, weight_tap;
  const float *bias;              // NULL: none
  int64_t rows, columns;          // of tiles
  int64_t row_step, column_step;  // from tile to tile, in the input
  int64_t places[9];              // of one tile, from its first
};

template <int P, int O>
using Tile = Lanes[P][O];

template <int P, int O>
inline void multiply(const Sweep &s, const float *x, const float *weight, Tile<P, O> &tile) {
  for (int64_t t = 0; t < s.tap_count; ++t, weight += s.weight_tap) {
    const float *under = x + s.taps[t];
    Lanes inputs[P];
    for (int p = 0; p < P; ++p) inputs[p] = load(under + s.places[p]);
    for (int o = 0; o < O; ++o) {
      const Lanes w = all(weight[o * s.weight_out]);
      for (int p = 0; p < P; ++p) tile[p][o] += inputs[p] * w;
    }
  }
}

// Calls finish(tile, first channel, row, column, lane) for every tile of O channels.
template <int P, int O, class Finish>
inline void sweep_channels(const Sweep &s, int64_t first, const Finish &finish) {
  const float *weight = s.weight + first * s.weight_out;
  for (int64_t row = 0; row < s.rows; ++row)
    for (int64_t column = 0; column < s.columns; ++column)
      for (int lane = 0; lane < IMAGES; lane += LANES) {
        Tile<P, O> tile;
        for (int o = 0; o < O; ++o) {
          const Lanes start = all(s.bias ? s.bias[first + o] : 0.f);
          for (int p = 0; p < P; ++p) tile[p][o] = start;
        }
        multiply<P, O>(s, s.in + row * s.row_step + column * s.column_step + lane, weight, tile);
        finish(tile, first, row, column, lane);
      }
}

// How many channels a tile takes: sums, inputs and a weight must fit into the registers.
template <int P>
constexpr int tile_channels() {
#if defined(__AVX512F__) || defined(__aarch64__)
  return P == 9 ? 2 : P == 1 || P == 2 ? 8 : 6;
#else
  return P == 9 ? 1 : P == 1 ? 8 : P == 2 ? 4 : P == 3 ? 3 : 2;
#endif
}

template <int N>
using Count = std::integral_constant<int, N>;  // a number that is known to the compiler

// Shares all channels out to tiles of about the same width.
template <int P, class Finish>
inline void sweep(const Sweep &s, int64_t channels, const Finish &finish) {
  constexpr int WIDEST = tile_channels<P>();
  int64_t tiles = ceil_div(channels, WIDEST);
  for (int64_t first = 0; first < channels; --tiles) {
    const int64_t width = ceil_div(channels - first, tiles);
    const auto take = [&](auto channels_) {
      if constexpr (channels_() <= WIDEST) sweep_channels<P, channels_()>(s, first, finish);
    };
    switch (width) {
      case 8: take(Count<8>()); break;
      case 7: take(Count<7>()); break;
      case 6: take(Count<6>()); break;
      case 5: take(Count<5>()); break;
      case 4: take(Count<4>()); break;
      case 3: take(Count<3>()); break;
      case 2: take(Count<2>()); break;
      default: take(Count<1>()); break;
    }
    first += width;
  }
}

}  // namespace convscope
