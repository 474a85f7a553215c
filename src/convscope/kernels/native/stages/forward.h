// One stage forward, for one block of images or, fully connected, for a group of blocks.
#pragma once
#include "stages/activation.h"
#include "stages/sweep.h"

namespace convscope {

// A map that is written: the next stage's input inside its border, or a plain one.
struct Map {
  float *at;
  int64_t channel, row, column;  // steps, in floats

  float *place(int64_t c, int64_t y, int64_t x) const {
    return at + c * channel + y * row + x * column;
  }
};

inline Map plain_map(float *at, int64_t height, int64_t width) {
  return {at, height * width * IMAGES, width * IMAGES, IMAGES};
}

// One lane's part of one window: takes the values in row order, then holds the result.
struct Window {
  const convscope_stage &stage;
  Lanes value{}, input{};  // the largest so far and its input, or the sum
  Whole winner{};

  void largest(Lanes z, int code, bool first) {
    const Lanes v = rises(stage.activation) ? z : activate(stage.activation, z);
    if (first) {
      value = v, input = z, winner = all(code);
      return;
    }
    const Whole wins = (v > value) | (v != v);  // as torch: the last NaN beats all
    value = wins ? v : value;
    input = wins ? z : input;
    winner = wins ? all(code) : winner;
  }
  void add(Lanes z) { value += activate(stage.activation, z); }

  Lanes result() const {
    if (stage.pooling == CONVSCOPE_AVERAGE)
      return value * (1.f / float(stage.pool_height * stage.pool_width));
    return rises(stage.activation) ? activate(stage.activation, value) : value;
  }
};

// Where a stage writes what: winners and slopes only where a backward pass will follow.
struct Target {
  const Stage &stage;
  Map out;
  uint8_t *winners;
  float *slopes;
  int codes[9];  // of the places in a window of registers

  Target(const Stage &stage_, const Map &out_, uint8_t *winners_, float *slopes_)
      : stage(stage_), out(out_), winners(winners_), slopes(slopes_) {
    const int width = int(stage.given.pool_width);
    for (int p = 0; p < 9; ++p) codes[p] = p / width * 16 + p % width;
  }

  int64_t out_place(int64_t o, int64_t row, int64_t column) const {
    return ((o * stage.out_height + row) * stage.out_width + column) * IMAGES;
  }
  float *conv_slope(int64_t o, int64_t y, int64_t x) const {
    return slopes + ((o * stage.height + y) * stage.width + x) * IMAGES;
  }

  // The maximum of a window that lies in registers: tile[p][o] for all p.
  template <int P, int O>
  void pool_maximum(const Tile<P, O> &tile, int o, float *y, int64_t place) const {
    Lanes value = tile[0][o];
    Whole winner{};
#pragma GCC unroll 9
    for (int p = 1; p < P; ++p) {
      const Lanes z = tile[p][o];
      const Whole wins = (z > value) | (z != z);
      value = wins ? z : value;
      winner = wins ? all(codes[p]) : winner;
    }
    store(y, activate(stage.given.activation, value));
    if (winners) store_bytes(winners + place, winner);
  }

  // The window (row, column) of channel o; z(i, j) is a convolution in it.
  template <class Value>
  void pool(int64_t o, int64_t row, int64_t column, int lane, const Value &z) const {
    const convscope_stage &s = stage.given;
    Window window{s};
    for (int64_t i = 0; i < s.pool_height; ++i)
      for (int64_t j = 0; j < s.pool_width; ++j)
        if (stage.max_pooled) {
          window.largest(z(i, j), int(i * 16 + j), i + j == 0);
        } else {
          window.add(z(i, j));
          if (slopes)
            store(conv_slope(o, row * s.pool_stride_height + i, column * s.pool_stride_width + j) +
                      lane,
                  slope(s.activation, z(i, j), activate(s.activation, z(i, j))));
        }
    put(window, out.place(o, row, column) + lane, out_place(o, row, column) + lane);
  }

  void put(const Window &window, float *y, int64_t place) const {
    const Lanes value = window.result();
    store(y, value);
    if (winners) store_bytes(winners + place, window.winner);
    if (stage.max_pooled && slopes)
      store(slopes + place, slope(stage.given.activation, window.input, value));
  }
};

// A sweep over single places, P at a time in a row.
template <class Put>
inline void sweep_places(Sweep s, int64_t columns, int64_t step, int64_t channels, const Put &put) {
  for (int p = 0; p < 9; ++p) s.places[p] = p * step;
  const auto finish = [&](int64_t skipped) {
    return [&put, skipped](const auto &tile, int64_t first, int64_t row, int64_t column, int lane) {
      constexpr int P = sizeof tile / sizeof tile[0], O = sizeof tile[0] / sizeof(Lanes);
      for (int p = 0; p < P; ++p)
        for (int o = 0; o < O; ++o) put(tile[p][o], first + o, row, skipped + column * P + p, lane);
    };
  };
  s.column_step = 4 * step;
  s.columns = columns / 4;
  const int64_t done = s.columns * 4;
  if (s.columns) sweep<4>(s, channels, finish(0));
  s.in += done * step;
  s.columns = 1;
  switch (columns - done) {
    case 3: sweep<3>(s, channels, finish(done)); break;
    case 2: sweep<2>(s, channels, finish(done)); break;
    case 1: sweep<1>(s, channels, finish(done)); break;
    default: break;
  }
}

inline Sweep forward_sweep(const Plan &plan, const Stage &stage, const float *input,
                           const float *weight, const float *bias) {
  const convscope_stage &s = stage.given;
  Sweep sweep{};
  sweep.in = input;
  sweep.taps = plan.table(stage.taps);
  sweep.tap_count = stage.tap_count();
  sweep.weight = weight;
  sweep.weight_out = stage.tap_count();
  sweep.weight_tap = 1;
  sweep.bias = s.has_bias ? bias : nullptr;
  return sweep;
}

// Pools windows straight from the registers in which they were summed.
template <int P>
inline void pool_in_registers(Sweep sweep_, const Target &target) {
  const Stage &stage = target.stage;
  const convscope_stage &s = stage.given;
  const int64_t down = s.stride_height * stage.padded_width * IMAGES;
  const int64_t right = s.stride_width * IMAGES;
  sweep_.rows = stage.out_height;
  sweep_.columns = stage.out_width;
  sweep_.row_step = s.pool_stride_height * down;
  sweep_.column_step = s.pool_stride_width * right;
  for (int p = 0; p < P; ++p) sweep_.places[p] = p / s.pool_width * down + p % s.pool_width * right;
  const bool simple = stage.max_pooled && rises(s.activation);
  const auto pool = [&](const auto &tile, int64_t first, int64_t row, int64_t column, int lane) {
    constexpr int O = sizeof tile[0] / sizeof(Lanes);
    if (simple) {
      float *y = target.out.place(first, row, column) + lane;
      int64_t place = target.out_place(first, row, column) + lane;
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) {
        target.pool_maximum<P, O>(tile, o, y, place);
        y += target.out.channel;
        place += stage.out_area() * IMAGES;
      }
      return;
    }
    Lanes kept[O][P];  // in memory, so that the tile itself can stay in registers
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o)
#pragma GCC unroll 9
      for (int p = 0; p < P; ++p) kept[o][p] = tile[p][o];
    for (int o = 0; o < O; ++o)
      target.pool(first + o, row, column, lane,
                  [&](int64_t i, int64_t j) { return kept[o][i * s.pool_width + j]; });
  };
  sweep<P>(sweep_, s.out_channels, pool);
}

// `scratch` holds the unpooled map where windows overlap.
inline void forward_block(const Plan &plan, const Target &target, const float *input,
                          const float *weight, const float *bias, float *scratch) {
  const Stage &stage = target.stage;
  const convscope_stage &s = stage.given;
  Sweep sweep = forward_sweep(plan, stage, input, weight, bias);
  if (stage.fused) {
    switch (s.pool_height * s.pool_width) {
      case 9: return pool_in_registers<9>(sweep, target);
      case 4: return pool_in_registers<4>(sweep, target);
      case 3: return pool_in_registers<3>(sweep, target);
      case 2: return pool_in_registers<2>(sweep, target);
      default: return pool_in_registers<1>(sweep, target);
    }
  }
  sweep.rows = stage.height;
  sweep.row_step = s.stride_height * stage.padded_width * IMAGES;
  const int64_t right = s.stride_width * IMAGES;
  if (!stage.pooled) {
    sweep_places(sweep, stage.width, right, s.out_channels,
                 [&](Lanes z, int64_t o, int64_t row, int64_t column, int lane) {
                   const Lanes y = activate(s.activation, z);
                   store(target.out.place(o, row, column) + lane, y);
                   if (target.slopes)
                     store(target.conv_slope(o, row, column) + lane, slope(s.activation, z, y));
                 });
    return;
  }
  const Map map = plain_map(scratch, stage.height, stage.width);
  sweep_places(sweep, stage.width, right, s.out_channels,
               [&](Lanes z, int64_t o, int64_t row, int64_t column, int lane) {
                 store(map.place(o, row, column) + lane, z);
               });
  for (int64_t o = 0; o < s.out_channels; ++o)
    for (int64_t row = 0; row < stage.out_height; ++row)
      for (int64_t column = 0; column < stage.out_width; ++column)
        for (int lane = 0; lane < IMAGES; lane += LANES) {
          const float *corner =
              map.place(o, row * s.pool_stride_height, column * s.pool_stride_width) + lane;
          target.pool(o, row, column, lane, [&](int64_t i, int64_t j) {
            return load(corner + i * map.row + j * IMAGES);
          });
        }
}

// A fully connected stage: the places of a tile are the blocks of a group, so that each
// weight is loaded once for all of them.
inline void forward_connected(const Plan &plan, const Stage &stage, const float *input,
                              int64_t in_step, const Map &out, float *slopes, int64_t out_step,
                              int64_t blocks, const float *weight, const float *bias) {
  Sweep sweep = forward_sweep(plan, stage, input, weight, bias);
  const int64_t activation = stage.given.activation;
  sweep.rows = 1;
  sweep_places(sweep, blocks, in_step, stage.given.out_channels,
               [&](Lanes z, int64_t o, int64_t, int64_t block, int lane) {
                 const Lanes y = activate(activation, z);
                 store(out.place(o, 0, 0) + block * out_step + lane, y);
                 if (slopes)
                   store(slopes + block * out_step + o * IMAGES + lane, slope(activation, z, y));
               });
}

}  // namespace convscope
